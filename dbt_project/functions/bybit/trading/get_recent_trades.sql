select
    exit_time,
    bot_id,
    account_uid,
    category,
    symbol,
    position_side,
    entry_time,
    entry_qty,
    entry_price,
    exit_price,
    exit_reason,
    gross_pnl,
    total_commission,
    net_pnl,
    pnl_pct,
    trade_id
from {{ all_rows_of(ref('completed_trades')) }}
where of_bot is null or bot_id = of_bot
order by exit_time desc, trade_id
limit row_limit
