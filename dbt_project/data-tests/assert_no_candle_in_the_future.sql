-- A returned row is a candle that opens later than now: a terminal that writes its broker's time instead of UTC,
-- or a wrong clock. One minute of difference between the clocks is let pass.
select
    symbol,
    timeframe,
    timestamp
from {{ ref('candles') }}
where timestamp > current_timestamp + interval '1 minute'
