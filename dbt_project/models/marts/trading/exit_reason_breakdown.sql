select
    bot_id,
    account_uid,
    category,
    symbol,
    {{ trade_market() }} as market,
    exit_reason,
    {{ trade_measures([
        'total_trades', 'winning_trades', 'losing_trades', 'breakeven_trades', 'win_rate_pct', 'total_pnl',
        'average_pnl', 'total_fees', 'average_holding_seconds', 'average_pnl_pct',
    ]) }}
from {{ ref('completed_trades') }}
where kind = 'trade'
group by bot_id, account_uid, category, symbol, exit_reason
