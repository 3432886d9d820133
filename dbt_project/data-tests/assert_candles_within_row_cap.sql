-- A returned row is a candle table with more rows than MAX_ROWS_PER_TABLE allows.
select
    symbol,
    timeframe,
    count(*) as candle_count
from {{ ref('candles') }}
group by symbol, timeframe
having count(*) > {{ max_rows_per_table() }}
