-- Is everything in the SQLite file also in the warehouse? Newest bar and rows of each symbol, file against M5 table.
-- Only bars on the M5 grid from the table's oldest row on count, because the table keeps its newest rows only.
-- `missing` counts those without a candle; @rejected shows why a bar makes none.
with

candles as (
    select symbol, timestamp
    from wh.public.candles
    where timeframe = 'M5'
),

held as (
    select
        symbol,
        max(timestamp) as newest,
        min(timestamp) as oldest,
        count(*) as candles
    from candles
    group by symbol
),

minutes as (
    select distinct symbol, to_timestamp(timestamp // 60 * 60) as timestamp
    from mt5.bars
    where timestamp // 60 % 5 = 0
),

filed as (
    select
        minutes.symbol,
        max(minutes.timestamp) as newest,
        count(*) as bars,
        count(*) filter (where candles.timestamp is null) as missing
    from minutes
    left join held on held.symbol = minutes.symbol
    left join candles on candles.symbol = minutes.symbol and candles.timestamp = minutes.timestamp
    where held.oldest is null or minutes.timestamp >= held.oldest
    group by minutes.symbol
)

select
    symbol,
    filed.newest as file_newest,
    held.newest as warehouse_newest,
    filed.newest - held.newest as behind,
    coalesce(filed.bars, 0) as file_rows,
    coalesce(held.candles, 0) as warehouse_rows,
    coalesce(filed.missing, 0) as missing
from wh.ops.sync_symbols
left join filed using (symbol)
left join held using (symbol)
order by missing desc, symbol
