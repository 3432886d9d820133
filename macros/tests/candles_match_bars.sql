{#
    Data test of a staging view: the symbol's candle tables hold exactly what its bars call for, both ways.
    Written without the macro that builds the tables. Returns one row per candle that is missing, surplus or
    different. Candles from a time whose bars staging has pruned are history and not compared.

    Bars land in one transaction and reach the tables in the next. A test beside a run may see the state in between, so
    bars of that run that are not in a table yet count as equal to what the table holds.
#}
{% test candles_match_bars(model, symbol) %}
{% set dynamic = dynamic_columns() %}
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

actual as not materialized (
    {% for timeframe in var('timeframes') %}
    select
        '{{ timeframe }}' as timeframe,
        {{ candle_columns() | join(',\n        ') }}
    from {{ ref(symbol ~ '_' ~ timeframe | lower) }}
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

run_at_work as (
    select min(started_at) as started_at
    from {{ source('ops', 'sync_runs') }}
    where source = 'mt5' and finished_at is null
),

built as (
    {% for timeframe in var('timeframes') %}
    select '{{ timeframe }}' as timeframe, max(synced_at) as synced_at
    from {{ ref(symbol ~ '_' ~ timeframe | lower) }}
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

pending as materialized (
    select distinct
        timeframes.timeframe,
        date_trunc('minute', to_timestamp(bar.timestamp)) as timestamp
    from run_at_work
    inner join (select * from {{ model }}) as bar on run_at_work.started_at <= bar.extracted_at
    inner join timeframes on bar.timestamp / 60 % timeframes.minutes = 0
    left join built on timeframes.timeframe = built.timeframe
    where built.synced_at is null or built.synced_at < bar.extracted_at
),

candidates as (
    select
        timeframes.timeframe,
        date_trunc('minute', to_timestamp(usable.timestamp)) as timestamp,
        {% for column in static + dynamic %}
        usable.{{ column }},
        {% endfor %}
        usable.extracted_at as synced_at
    from usable
    inner join timeframes
        on extract(epoch from date_trunc('minute', to_timestamp(usable.timestamp)))::bigint
            % (timeframes.minutes * 60) = 0
    left join pending
        on timeframes.timeframe = pending.timeframe
            and date_trunc('minute', to_timestamp(usable.timestamp)) = pending.timestamp
    where usable.recency_in_minute = 1 and pending.timeframe is null
    union all
    select
        actual.timeframe,
        actual.timestamp,
        {% for column in static + dynamic %}
        actual.{{ column }},
        {% endfor %}
        actual.synced_at
    from actual
    inner join pending using (timeframe, timestamp)
),

ranked as (
    select *, row_number() over (partition by timeframe order by timestamp desc) as recency
    from candidates
),

expected as (
    select
        timeframe,
        timestamp,
        {% for column in static %}
        {{ column }},
        {% endfor %}
        {% for column in dynamic %}
        case when recency = 1 then {{ column }} end as {{ column }},
        {% endfor %}
        synced_at
    from ranked
    where recency <= {{ max_rows_per_table() }}
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
    select date_trunc('minute', to_timestamp(min(bar.timestamp)))
    from (select * from {{ model }}) as bar
    where not bar.is_history
)
    and (
        {% for column in static + dynamic + ['synced_at'] %}
        expected.{{ column }} is distinct from actual.{{ column }}
        {{ 'or' if not loop.last }}
        {% endfor %}
    )
{% endtest %}
