{#
    One candle table: the bars on the timeframe's grid, one per minute, newest `max_rows_per_table` only.

    A full build takes every minute on the grid, an increment the minutes that can have changed. Either way each
    minute's row is computed from the bars alone, so increments and a full build end in the same table.

    A minute whose only bars are rejects gets a row with `open` NULL, which `delete_when` takes as "delete this
    candle". A future candle without a bar gets such a row too, because its bar was withdrawn. In a full refresh, so
    does any candle without a bar, except history: a candle stays if staging has pruned that time.

    Only the newest row of the table has the dynamic columns. When a newer row comes, the previous one loses them,
    even if staging no longer has its bar.
#}
{% macro candles(bars, timeframe) %}
{% set increment = is_incremental() %}
{% set repair = not increment and has_table() %}
{% if increment %}
    {% set steps = candle_increment_steps() %}
{% elif repair %}
    {% set steps = candle_repair_steps(bars) %}
{% else %}
    {% set steps = candle_build_steps() %}
{% endif %}
{% set dynamic = dynamic_columns() %}
{% set sampled_columns = candle_columns() | reject('in', ['timestamp', 'open', 'synced_at']) | list %}
with

bars as not materialized (
    select *
    from {{ bars }}
    where epoch_minute % {{ _minutes_of(timeframe) }} = 0
),

newest_bar as (
    select epoch_minute
    from bars
    where is_usable
    order by timestamp desc
    limit 1
),

{{ steps }}

{# `sampled` is read once, so that Postgres parses a dynamic column only for the row that keeps it #}
final as (
    select
        to_timestamp(sampled.epoch_minute * 60) as timestamp,
        case when sampled.is_usable then sampled.open end as open,
        {% for column in sampled_columns %}
        {% if column in dynamic %}
        case when sampled.epoch_minute = newest.epoch_minute then sampled.{{ column }} end as {{ column }},
        {% else %}
        sampled.{{ column }},
        {% endif %}
        {% endfor %}
        sampled.extracted_at as synced_at
    from sampled
    cross join newest
    {{ candles_given_up(increment) if increment or repair }}
    {% if increment or repair %}
    union all
    select
        {% for name in candle_columns() %}
        {{ 'timestamp' if name == 'timestamp' else 'null' }}{{ ',' if not loop.last }}
        {% endfor %}
    from {{ 'withdrawn' if increment else 'candles_without_bar' }}
    {% endif %}
)

select * from final
{% endmacro %}

{# Minutes of a configured timeframe. #}
{% macro _minutes_of(timeframe) %}
    {% set timeframes = var('timeframes') %}
    {% if timeframe not in timeframes %}
        {% do exceptions.raise_compiler_error(
            "candles(): timeframe is '" ~ timeframe ~ "'; configured are " ~ timeframes.keys() | join(', ')
        ) %}
    {% endif %}
    {% do return(timeframes[timeframe]) %}
{% endmacro %}
