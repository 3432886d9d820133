select
    bot_id,
    account_uid,
    category,
    symbol,
    {{ trade_market() }} as market,
    exit_reason,
    count(*) as total_trades,
    count(*) filter (where net_pnl > 0) as winning_trades,
    count(*) filter (where net_pnl < 0) as losing_trades,
    count(*) filter (where net_pnl = 0) as breakeven_trades,
    round(100.0 * count(*) filter (where net_pnl > 0) / count(*), 2) as win_rate_pct,
    sum(net_pnl) as total_pnl,
    avg(net_pnl) as average_pnl,
    sum(total_commission) as total_fees,
    avg(holding_duration_seconds) as average_holding_seconds,
    avg(pnl_pct) as average_pnl_pct
from {{ ref('completed_trades') }}
where kind = 'trade'
group by bot_id, account_uid, category, symbol, exit_reason
