select
    bot_id,
    {{ trade_market() }} as market,
    exit_reason,
    count(*) as total_trades,
    count(*) filter (where net_pnl > 0) as winning_trades,
    round(100.0 * count(*) filter (where net_pnl > 0) / count(*), 2) as win_rate_pct,
    sum(net_pnl) as net_pnl,
    sum(total_commission) as total_fees,
    avg(net_pnl) as average_pnl,
    round(avg(holding_duration_seconds), 3) as average_holding_seconds
from {{ all_rows_of(ref('completed_trades')) }}
where kind = 'trade'
    and (of_bot is null or bot_id = of_bot)
    and (of_days is null or exit_time >= now() - make_interval(days => of_days))
group by bot_id, market, exit_reason
order by bot_id, market, net_pnl desc, exit_reason
