-- Which M5 bars of the last 7 days are missing, though the market was open?
-- Open is: always for crypto, Sunday 22:00 to Friday 22:00 UTC for all others. Holidays count as missing.
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
    select sync_symbols.symbol, slots.timestamp
    from wh.ops.sync_symbols
    cross join slots
    where
        sync_symbols.symbol in ('btcusd', 'ethusd')
        -- shifted by two hours, the week is whole days: Monday to Friday
        or isodow(slots.timestamp + interval 2 hours) <= 5
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
