{#
    Each timeframe is made from the longest shorter one that divides it, the shortest from the bars. Of several bars in
    a minute the newest counts, as in the candle tables.

    An increment computes the candles of the bars landed since the newest `synced_at`. It also computes the last candle of
    each symbol and timeframe, which may be complete now, and all that are not over at the symbol's newest bar: they have
    lost their later bars if those turned into rejects or left staging. It reads each symbol's bars from the start of the
    earliest of these candles.

    A candle that has lost all its bars gets a row with `open` NULL, which `delete_when` takes as "delete this candle".
    A candle from a time that staging has pruned is never computed again: it stays as it is.
#}
{% set increment = is_incremental() %}
{% set repair = not increment and has_table() %}
{% set timeframes = var('timeframes') %}
{% set by_length = timeframes.items() | sort(attribute='1') %}
with

timeframes (timeframe, seconds) as (
    values
    {% for name, minutes in by_length %}
    ('{{ name }}', {{ minutes * 60 }}){{ ',' if not loop.last }}
    {% endfor %}
),

pruned as (
    select
        symbol,
        max(timestamp) as newest
    from {{ source('ops', 'pruned_bars') }}
    group by symbol
),

newest_bars as materialized (
    {% for symbol in var('symbols') %}
    select
        '{{ symbol }}' as symbol,
        (
            select epoch_minute * 60
            from {{ ref('stg_mt5__' ~ symbol) }}
            where is_usable
            order by timestamp desc
            limit 1
        ) as timestamp
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

{% if increment %}
landed_since as (
    select coalesce(max(synced_at), '-infinity') as synced_at
    from {{ this }}
),

changed_bars as (
    {% for symbol in var('symbols') %}
    select
        '{{ symbol }}' as symbol,
        timestamp
    from {{ ref('stg_mt5__' ~ symbol) }}
    where extracted_at > (select synced_at from landed_since)
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

wanted as (
    select distinct
        changed_bars.symbol,
        timeframes.timeframe,
        changed_bars.timestamp - changed_bars.timestamp % timeframes.seconds as period_start
    from changed_bars
    cross join timeframes
    union
    select
        newest_bars.symbol,
        timeframes.timeframe,
        extract(epoch from candle.timestamp)::bigint as period_start
    from newest_bars
    cross join timeframes
    cross join lateral (
        (
            select timestamp
            from {{ this }}
            where symbol = newest_bars.symbol and timeframe = timeframes.timeframe
            order by timestamp desc
            limit 1
        )
        union all
        select timestamp
        from {{ this }}
        where symbol = newest_bars.symbol and timeframe = timeframes.timeframe
            and timestamp > to_timestamp(newest_bars.timestamp - timeframes.seconds)
    ) as candle
    where newest_bars.timestamp is not null
),

{# materialized, or Postgres works it out anew for each symbol #}
first_wanted as materialized (
    select
        symbol,
        min(period_start) as period_start
    from wanted
    group by symbol
),
{% endif %}

bars as materialized (
    {% for symbol in var('symbols') %}
    (
        select distinct on (epoch_minute)
            '{{ symbol }}' as symbol,
            epoch_minute * 60 as period_start,
            open,
            high,
            low,
            close,
            1 as bars,
            extracted_at
        from {{ ref('stg_mt5__' ~ symbol) }}
        where is_usable
            {% if increment %}
            and timestamp >= (
                select period_start
                from first_wanted
                where symbol = '{{ symbol }}'
            )
            {% endif %}
        order by epoch_minute asc, timestamp desc
    )
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

{% for name, minutes in by_length %}
{% set shorter = namespace(name='bars') %}
{% for other, length in by_length if length < minutes and minutes % length == 0 %}
    {% set shorter.name = other | lower %}
{% endfor %}
{{ name | lower }} as materialized (
{{ resample(shorter.name, minutes) }}
),
{% endfor %}

candles as (
    {% for name in timeframes %}
    select
        '{{ name }}' as timeframe,
        *
    from {{ name | lower }}
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

{% if repair %}
oldest_bars as (
    select
        symbol,
        min(period_start) as period_start
    from bars
    group by symbol
),

wanted as (
    select
        symbol,
        timeframe,
        period_start
    from candles
    union
    select
        so_far.symbol,
        so_far.timeframe,
        extract(epoch from so_far.timestamp)::bigint
    from {{ this }} as so_far
    inner join oldest_bars using (symbol)
    where so_far.timestamp >= to_timestamp(oldest_bars.period_start)
),
{% endif %}

final as (
    select
        symbol,
        timeframe,
        to_timestamp(period_start) as timestamp,
        candles.open,
        candles.high,
        candles.low,
        candles.close,
        candles.bars::integer as bars,
        newest_bars.timestamp >= period_start + timeframes.seconds as complete,
        candles.extracted_at as synced_at
    from {{ 'wanted left join candles using (symbol, timeframe, period_start)' if increment or repair else 'candles' }}
    inner join timeframes using (timeframe)
    left join newest_bars using (symbol)
    left join pruned using (symbol)
    where period_start > coalesce(pruned.newest, -1)
)

select * from final
