-- What of the source could not be read, and why? Values (or whole bars) left out of the candle tables, grouped.
select
    symbol,
    column_name,
    left_out,
    reason,
    count(*) as rejects,
    max(to_timestamp(try_cast(bar_key as bigint))) as newest_bar,
    arg_max(original, bar_key) as newest_original
from wh.ops.rejected_bars
group by symbol, column_name, left_out, reason
order by rejects desc, symbol, column_name
