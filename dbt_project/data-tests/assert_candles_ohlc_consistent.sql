-- A returned row is a candle whose high and low do not enclose its open and close. It is what the source says,
-- so it is kept and reported.
{{ config(severity='warn') }}

select
    symbol,
    timeframe,
    timestamp,
    open,
    high,
    low,
    close
from {{ ref('candles') }}
where low > least(open, close) or high < greatest(open, close)
