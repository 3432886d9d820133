-- A returned row is a position that has been gone for a day, and the history still does not say how it ended.
{{ config(severity='warn') }}

select
    account_id,
    ticket,
    symbol,
    synced_at
from {{ ref('trades') }}
where status = 'closing' and synced_at < {{ sync_clock() }} - interval '1 day'
