select
    bot_id,
    {{ trade_market() }} as market,
    exit_reason,
    {{ trade_measures([
        'total_trades', 'winning_trades', 'win_rate_pct', 'net_pnl', 'total_fees', 'average_pnl',
    ]) }},
    round(avg(holding_duration_seconds), 3) as average_holding_seconds
from {{ all_rows_of(ref('completed_trades')) }}
where kind = 'trade'
    and (of_bot is null or bot_id = of_bot)
    and (of_days is null or exit_time >= now() - make_interval(days => of_days))
group by bot_id, market, exit_reason
order by bot_id, market, net_pnl desc, exit_reason
