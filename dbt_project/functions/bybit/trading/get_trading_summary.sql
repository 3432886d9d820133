with

trades as (
    select
        bot_id,
        {{ trade_market() }} as market,
        net_pnl,
        total_commission,
        holding_duration_seconds
    from {{ all_rows_of(ref('completed_trades')) }}
    where kind = 'trade'
        and (of_bot is null or bot_id = of_bot)
        and (of_days is null or exit_time >= now() - make_interval(days => of_days))
),

funding as (
    select
        bot_id,
        {{ trade_market() }} as market,
        -sum(amount_paid) as funding_pnl
    from {{ all_rows_of(ref('funding_payments')) }}
    where (of_bot is null or bot_id = of_bot)
        and (of_days is null or exec_time >= now() - make_interval(days => of_days))
    group by bot_id, market
),

totals as (
    select
        bot_id,
        market,
        count(*) as total_trades,
        count(*) filter (where net_pnl > 0) as winning_trades,
        count(*) filter (where net_pnl < 0) as losing_trades,
        count(*) filter (where net_pnl = 0) as breakeven_trades,
        round(100.0 * count(*) filter (where net_pnl > 0) / count(*), 2) as win_rate_pct,
        sum(net_pnl) as net_pnl,
        sum(total_commission) as total_fees,
        avg(net_pnl) as average_pnl,
        max(net_pnl) filter (where net_pnl > 0) as max_win,
        min(net_pnl) filter (where net_pnl < 0) as max_loss,
        round(avg(holding_duration_seconds), 3) as average_holding_seconds
    from trades
    group by bot_id, market
)

select
    bot_id,
    market,
    coalesce(totals.total_trades, 0),
    coalesce(totals.winning_trades, 0),
    coalesce(totals.losing_trades, 0),
    coalesce(totals.breakeven_trades, 0),
    totals.win_rate_pct,
    coalesce(totals.net_pnl, 0),
    coalesce(funding.funding_pnl, 0),
    coalesce(totals.net_pnl, 0) + coalesce(funding.funding_pnl, 0),
    coalesce(totals.total_fees, 0),
    totals.average_pnl,
    totals.max_win,
    totals.max_loss,
    totals.average_holding_seconds
from totals
full join funding using (bot_id, market)
order by bot_id, market
