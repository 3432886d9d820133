select
    windows.instrument_id,
    windows.timeframe,
    windows.kind,
    {{ india_day('candles.timestamp') }} as day,
    candles.timestamp,
    candles.open,
    candles.high,
    candles.low,
    candles.close,
    candles.volume,
    candles.oi,
    windows.extracted_at
from {{ all_rows_of(source('upstox', 'upstox_windows')) }} as windows
cross join lateral unnest(
    windows.timestamps, windows.open, windows.high, windows.low, windows.close, windows.volume, windows.oi
) as candles (timestamp, open, high, low, close, volume, oi)
