with

exits as (
    select
        bot_id,
        account_uid,
        {{ trade_market() }} as market,
        exit_time,
        count(*) as trades,
        sum(net_pnl) as net_pnl
    from {{ ref('completed_trades') }}
    where kind = 'trade'
    group by bot_id, account_uid, market, exit_time
),

cumulated as (
    select
        *,
        sum(net_pnl) over (partition by bot_id, account_uid, market order by exit_time) as cumulative_pnl
    from exits
),

peaks as (
    select
        *,
        -- the account begins at 0
        greatest(0, max(cumulative_pnl) over (partition by bot_id, account_uid, market order by exit_time)) as peak_pnl
    from cumulated
),

final as (
    select
        *,
        cumulative_pnl - peak_pnl as drawdown
    from peaks
)

select * from final
