{# What moves money without a trade. A credit is the broker's money: it changes the equity, not the balance. #}
with

operations as (
    select
        *,
        coalesce(profit, 0) + coalesce(swap, 0) + coalesce(commission, 0) + coalesce(fee, 0) as amount,
        case replace(type, 'deal_type_', '')
            when '2' then 'balance'
            when '3' then 'credit'
            when '4' then 'charge'
            when '5' then 'correction'
            when '6' then 'bonus'
            when '7' then 'commission'
            when '8' then 'commission_daily'
            when '9' then 'commission_monthly'
            when '10' then 'commission_agent_daily'
            when '11' then 'commission_agent_monthly'
            when '12' then 'interest'
            when '15' then 'dividend'
            when '16' then 'dividend_franked'
            when '17' then 'tax'
            else coalesce(nullif(replace(type, 'deal_type_', ''), ''), 'balance')
        end as operation
    from {{ ref('stg_accounts__history') }}
    where kind = 'operation'
)

select
    account_id,
    history_ticket as ticket,
    case when operation <> 'balance' then operation when amount < 0 then 'withdrawal' else 'deposit' end as operation,
    amount,
    operation <> 'credit' as changes_balance,
    moment as operation_time,
    comment,
    extracted_at as synced_at
from operations
where true
{% if is_incremental() %}
    and extracted_at > (select coalesce(max(synced_at), '-infinity') from {{ this }})
{% endif %}
