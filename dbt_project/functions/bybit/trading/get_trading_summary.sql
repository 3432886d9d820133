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
        {{ trade_measures([
            'total_trades', 'winning_trades', 'losing_trades', 'breakeven_trades', 'win_rate_pct', 'net_pnl',
            'total_fees', 'average_pnl', 'max_win', 'max_loss',
        ]) }},
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
