-- A returned row is a candle that is not the newest of its table and still holds a value in a dynamic column.
with

candles as (
    select * from {{ ref('candles') }}
),

newest as (
    select
        symbol,
        timeframe,
        max(timestamp) as timestamp
    from candles
    group by symbol, timeframe
)

select
    candles.symbol,
    candles.timeframe,
    candles.timestamp
from candles
inner join newest
    on candles.symbol = newest.symbol
        and candles.timeframe = newest.timeframe
        and candles.timestamp < newest.timestamp
where false
    {% for column in dynamic_columns() %}
    or candles.{{ column }} is not null
    {% endfor %}
