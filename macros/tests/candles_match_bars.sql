{#
    Data test of a staging view: the symbol's nine candle tables hold exactly what its bars call for, both ways.
    Written without the macro that builds the tables. Returns one row per candle that is missing, surplus or
    different. Candles of a time of which staging has let bars go are history and not compared.
#}
{% test candles_match_bars(model, symbol) %}
{% set dynamic = ['fractals', 'horizontal_trendlines', 'diagonal_trendlines'] %}
{% set static = candle_columns() | reject('in', dynamic + ['timestamp', 'synced_at']) | list %}
with

usable as materialized (
    select *, row_number() over (partition by timestamp / 60 order by timestamp desc) as recency_in_minute
    from {{ model }}
    where is_usable
),

timeframes (timeframe, minutes) as (
    values
    {% for timeframe, minutes in var('timeframes').items() %}
    ('{{ timeframe }}', {{ minutes }}){{ ',' if not loop.last }}
    {% endfor %}
),

ranked as (
    select
        timeframes.timeframe,
        usable.*,
        row_number() over (partition by timeframes.timeframe order by usable.timestamp desc) as recency
    from usable
    inner join timeframes
        on extract(epoch from date_trunc('minute', to_timestamp(usable.timestamp)))::bigint
            % (timeframes.minutes * 60) = 0
    where usable.recency_in_minute = 1
),

expected as (
    select
        timeframe,
        date_trunc('minute', to_timestamp(timestamp)) as timestamp,
        {% for column in static %}
        {{ column }},
        {% endfor %}
        {% for column in dynamic %}
        case when recency = 1 then {{ column }} end as {{ column }},
        {% endfor %}
        extracted_at as synced_at
    from ranked
    where recency <= {{ max_rows_per_table() }}
),

actual as (
    {% for timeframe in var('timeframes') %}
    select
        '{{ timeframe }}' as timeframe,
        {{ candle_columns() | join(',\n        ') }}
    from {{ ref(symbol ~ '_' ~ timeframe | lower) }}
    {{ 'union all' if not loop.last }}
    {% endfor %}
)

select
    timeframe,
    timestamp,
    case
        when actual.synced_at is null then 'missing'
        when expected.synced_at is null then 'surplus'
        else 'different'
    end as problem
from expected
full outer join actual using (timeframe, timestamp)
where timestamp >= (
    select date_trunc('minute', to_timestamp(min(bar.timestamp))) from {{ model }} as bar where not bar.is_history
)
    and (
        {% for column in static + dynamic + ['synced_at'] %}
        expected.{{ column }} is distinct from actual.{{ column }}
        {{ 'or' if not loop.last }}
        {% endfor %}
    )
{% endtest %}
