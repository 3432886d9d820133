-- Which M5 bars of the last 7 days are missing, though the market was open?
-- Hours are open if `ops.market_hours` says so: open in both summer and winter. Bars on holidays count as missing.
with

slots as (
    select timestamp
    from generate_series(
        time_bucket(interval 5 minutes, now() - interval 7 days) + interval 5 minutes,
        now() - interval 5 minutes,
        interval 5 minutes
    ) as series (timestamp)
),

expected as (
    select market_hours.symbol, slots.timestamp
    from slots
    inner join wh.ops.market_hours
        -- the epoch began on a Thursday
        on market_hours.hour_of_week = (epoch(slots.timestamp)::bigint // 3600 + 72) % 168
),

candles as (
    select symbol, timestamp
    from wh.public.candles
    where timeframe = 'M5' and timestamp >= now() - interval 7 days
)

select
    expected.symbol,
    count(*) as expected,
    count(*) filter (where candles.timestamp is null) as missing,
    min(expected.timestamp) filter (where candles.timestamp is null) as first_missing,
    max(expected.timestamp) filter (where candles.timestamp is null) as last_missing
from expected
left join candles on candles.symbol = expected.symbol and candles.timestamp = expected.timestamp
group by expected.symbol
order by missing desc, expected.symbol
