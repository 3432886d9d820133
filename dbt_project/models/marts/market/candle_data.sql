{#
    A reply stands for all candles of its days: what a day had before and the reply lacks is deleted. So bars of five
    minutes and of an hour follow from the minutes of the same reply. Hours begin at a quarter past, as the session does.
#}
{% set grids = {'5m': '5 minutes', '1h': '1 hour'} %}
{% set grid_start = "'2000-01-01 03:45+00'::timestamptz" %}
with

{% if is_incremental() %}
since as (
    select coalesce(max(synced_at), '-infinity') as synced_at from {{ this }}
),

{% endif %}
read as (
    select distinct on (instrument_id, timeframe, timestamp) *
    from {{ ref('stg_upstox__candles') }}
    {% if is_incremental() %}
    where extracted_at > (select since.synced_at from since)
    {% endif %}
    -- of two replies with the same candle history is final, and then the newer one counts
    order by instrument_id asc, timeframe asc, timestamp asc, kind = 'intraday' asc, extracted_at desc
),

bars as (
    select
        instrument_id,
        timeframe,
        day,
        timestamp,
        open,
        high,
        low,
        close,
        volume,
        oi,
        extracted_at
    from read
    {% for timeframe, length in grids.items() %}
    union all
    select
        instrument_id,
        '{{ timeframe }}' as timeframe,
        day,
        date_bin('{{ length }}', timestamp, {{ grid_start }}) as timestamp,
        (array_agg(open order by timestamp))[1] as open,
        max(high) as high,
        min(low) as low,
        (array_agg(close order by timestamp desc))[1] as close,
        sum(volume)::bigint as volume,
        (array_agg(oi order by timestamp desc))[1] as oi,
        max(extracted_at) as extracted_at
    from read
    where timeframe = '1m'
    group by instrument_id, day, date_bin('{{ length }}', timestamp, {{ grid_start }})
    {% endfor %}
),

days as (
    select
        instrument_id,
        timeframe,
        day,
        max(extracted_at) as extracted_at
    from bars
    group by instrument_id, timeframe, day
),

known as (
    select
        held.*,
        days.extracted_at
    from days
    cross join lateral (
        {# day by day: a lookup costs as much as the table has partitions #}
        select *
        from {{ this }}
        where instrument_id = days.instrument_id
            and timeframe = days.timeframe
            and timestamp >= days.day::timestamp at time zone 'Asia/Kolkata'
            and timestamp < (days.day + 1)::timestamp at time zone 'Asia/Kolkata'
    ) as held
),

final as (
    select
        instrument_id,
        timeframe,
        timestamp,
        bars.open,
        bars.high,
        bars.low,
        bars.close,
        bars.volume,
        bars.oi,
        coalesce(bars.extracted_at, known.extracted_at) as synced_at
    from bars
    full join known using (instrument_id, timeframe, timestamp)
    where (bars.open, bars.high, bars.low, bars.close, bars.volume, bars.oi)
        is distinct from (known.open, known.high, known.low, known.close, known.volume, known.oi)
)

select * from final
