select
    bot_id,
    category,
    symbol,
    (exit_time at time zone 'UTC')::date as exit_date,
    count(*) as total_trades,
    count(*) filter (where net_pnl > 0) as winning_trades,
    count(*) filter (where net_pnl < 0) as losing_trades,
    count(*) filter (where net_pnl = 0) as breakeven_trades,
    sum(net_pnl) as total_pnl,
    avg(net_pnl) as average_pnl,
    max(net_pnl) filter (where net_pnl > 0) as max_win,
    min(net_pnl) filter (where net_pnl < 0) as max_loss,
    sum(total_commission) as total_fees,
    avg(holding_duration_seconds) as average_holding_seconds,
    avg(pnl_pct) as average_pnl_pct
from {{ ref('completed_trades') }}
group by bot_id, category, symbol, (exit_time at time zone 'UTC')::date
