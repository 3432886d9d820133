{#
    The balance over time is worked out backwards from the newest: less all that trades and operations changed. `growth`
    adds up logarithms, which compounds what each trade made of the balance before it.
#}
with

trades as (
    select * from {{ ref('trades') }}
),

operations as (
    select * from {{ ref('balance_operations') }}
    where changes_balance
),

info as (
    select * from {{ ref('stg_accounts__info') }}
),

{% if is_incremental() %}
since as (
    select coalesce(max(synced_at), '-infinity') as synced_at from {{ this }}
),

changed as (
    select account_id
    from trades
    where synced_at > (select since.synced_at from since) and (status = 'closed' or realised_profit <> 0)
    union
    select account_id
    from {{ ref('balance_operations') }}
    where synced_at > (select since.synced_at from since)
    union
    select info.account_id
    from info
    left join {{ this }} as known on info.account_id = known.account_id
    where known.balance is distinct from info.balance
),

{% else %}
changed as (
    select account_id from trades
    union
    select account_id from operations
    union
    select account_id from info
),

{% endif %}
events as (
    select
        trades.account_id,
        trades.close_time as moment,
        trades.ticket,
        trades.realised_profit as amount,
        true as is_trade,
        trades.status = 'closed' as is_over,
        trades.synced_at
    from changed
    inner join trades on changed.account_id = trades.account_id
    where trades.status = 'closed' or trades.realised_profit <> 0
    union all
    select
        operations.account_id,
        operations.operation_time as moment,
        operations.ticket,
        operations.amount,
        false as is_trade,
        true as is_over,
        operations.synced_at
    from changed
    inner join operations on changed.account_id = operations.account_id
),

known as (
    select
        account_id,
        sum(amount) as amount
    from events
    group by account_id
),

curve as (
    select
        events.*,
        info.balance - sum(amount) over (partition by events.account_id)
        + coalesce(sum(amount) over (so_far rows between unbounded preceding and 1 preceding), 0) as balance_before,
        sum(case when is_trade then amount else 0 end) over (so_far rows unbounded preceding) as made
    from events
    left join info on events.account_id = info.account_id
    -- what open positions have realised so far comes last
    window so_far as (
        partition by events.account_id
        order by is_over desc, moment asc nulls first, is_trade asc, length(ticket) asc, ticket asc
    )
),

steps as (
    select
        *,
        greatest(max(made) over so_far, 0) - made as drawdown,
        sum(
            case when is_trade and balance_before > 0 and balance_before + amount > 0
                then ln((1 + amount / balance_before)::double precision) else 0 end
        ) over (so_far rows unbounded preceding) as growth
    from curve
    where is_over
    window so_far as (partition by account_id order by moment nulls first, is_trade, length(ticket), ticket)
),

falls as (
    select
        *,
        greatest(max(growth) over so_far, 0) - growth as fall
    from steps
    window so_far as (partition by account_id order by moment nulls first, is_trade, length(ticket), ticket)
),

sums as (
    select
        account_id,
        count(*) filter (where is_trade) as trades,
        count(*) filter (where is_trade and amount > 0) as winning_trades,
        count(*) filter (where is_trade and amount < 0) as losing_trades,
        coalesce(sum(amount) filter (where is_trade and amount > 0), 0) as gross_profit,
        coalesce(-sum(amount) filter (where is_trade and amount < 0), 0) as gross_loss,
        coalesce(sum(amount) filter (where is_trade), 0) as net_profit,
        coalesce(sum(amount) filter (where not is_trade and amount > 0), 0) as deposits,
        coalesce(-sum(amount) filter (where not is_trade and amount < 0), 0) as withdrawals,
        (array_agg(growth order by moment desc nulls last, is_trade desc, length(ticket) desc, ticket desc))[1]
            as growth,
        max(fall) as fall,
        coalesce(max(drawdown), 0) as max_drawdown,
        -- a broker may let it fall below 0
        coalesce(bool_and(balance_before > 0 and balance_before + amount > 0) filter (where is_trade), true)
            as has_growth,
        max(synced_at) as synced_at
    from falls
    group by account_id
),

final as (
    select
        changed.account_id,
        coalesce(sums.trades, 0) as trades,
        coalesce(sums.winning_trades, 0) as winning_trades,
        coalesce(sums.losing_trades, 0) as losing_trades,
        round(100.0 * sums.winning_trades / nullif(sums.trades, 0), 2) as win_rate_pct,
        coalesce(sums.gross_profit, 0) as gross_profit,
        coalesce(sums.gross_loss, 0) as gross_loss,
        round(sums.gross_profit / nullif(sums.gross_loss, 0), 4) as profit_factor,
        coalesce(sums.net_profit, 0) as net_profit,
        coalesce(sums.deposits, 0) as deposits,
        coalesce(sums.withdrawals, 0) as withdrawals,
        case when info.balance is not null and coalesce(sums.has_growth, true)
            then round((100 * (exp(coalesce(sums.growth, 0)) - 1))::numeric, 4) end as growth_pct,
        coalesce(sums.max_drawdown, 0) as max_drawdown,
        case when info.balance is not null and coalesce(sums.has_growth, true)
            then round((100 * (1 - exp(-coalesce(sums.fall, 0))))::numeric, 4) end as max_drawdown_pct,
        info.balance,
        coalesce(sums.synced_at, info.extracted_at, '-infinity') as synced_at,
        -- doubles of the API's program may have been added up
        round(info.balance - coalesce(known.amount, 0), 8) as opening_balance
    from changed
    left join known on changed.account_id = known.account_id
    left join sums on changed.account_id = sums.account_id
    left join info on changed.account_id = info.account_id
)

select * from final
