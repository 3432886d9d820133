{# What moves money without a trade. A credit is the broker's money: it changes the equity, not the balance. #}
with

paid as (
    select
        *,
        coalesce(profit, 0) + coalesce(swap, 0) + coalesce(commission, 0) + coalesce(fee, 0) as amount,
        case type
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
            else coalesce(nullif(type, ''), 'balance')
        end as word
    from {{ ref('stg_accounts__history') }}
    where kind = 'operation'
)

select
    account_id,
    history_ticket as ticket,
    case when word <> 'balance' then word when amount < 0 then 'withdrawal' else 'deposit' end as operation_type,
    amount,
    word <> 'credit' as changes_balance,
    moment as operation_time,
    comment,
    extracted_at as synced_at
from paid
where true
{% if is_incremental() %}
    and extracted_at > (select coalesce(max(synced_at), '-infinity') from {{ this }})
{% endif %}
