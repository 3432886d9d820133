-- A returned row is a fill whose client order id names another bot than when it was computed: the list of bots has
-- changed since. `dbt build --full-refresh --select tag:bybit` computes all fills again.
select
    fills.exec_id,
    fills.client_order_id,
    fills.linked_bot as computed_with,
    executions.linked_bot as named_now
from (select * from {{ ref('int_bybit__fills') }}) as fills
inner join (select * from {{ ref('stg_bybit__executions') }}) as executions
    on fills.account_uid = executions.account_uid and fills.exec_id = executions.exec_id
where not fills.is_void
    and executions.kind in ('fill', 'moved')
    and fills.linked_bot is distinct from executions.linked_bot
