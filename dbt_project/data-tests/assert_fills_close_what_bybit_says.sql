-- A returned row is a fill of which Bybit says that it closed another quantity of the account's position than the fills
-- before it allow: an execution is missing or wrong.
{{ config(severity='warn') }}

select
    account_uid,
    category,
    symbol,
    exec_time,
    exec_id,
    exchange_closed,
    account_closed
from {{ ref('int_bybit__fills') }}
where not is_void and account_closed <> exchange_closed
