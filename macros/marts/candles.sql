{#
    One candle table: the bars on the timeframe's grid, one per minute, newest `max_rows_per_table` only.

    A full build takes every minute on the grid. An increment takes the minutes that can have changed:
    those with a row landed since the table's newest `synced_at`, the newest minute of the bars and of the
    table (the dynamic columns move from the one to the other), and, while the table is under its cap,
    minutes older than its oldest row. Either way each minute's row is computed from the bars alone,
    so increments and a full build end in the same table.

    A minute whose only bars are rejects comes out with `open` NULL, which `delete_when` takes for "delete
    this candle". So does, in a full refresh, a candle of the table without any bar, but for history: where staging has
    been pruned, no bar does not mean no candle.
#}
{% macro candles(bars, timeframe) %}
{% set minutes = _minutes_of(timeframe) %}
{% set cap = max_rows_per_table() %}
{% set on_grid = 'epoch_minute % ' ~ minutes ~ ' = 0' %}
{% set repairing = execute and should_full_refresh() and load_cached_relation(this) is not none %}
with

newest as (
    select epoch_minute
    from {{ bars }}
    where {{ on_grid }} and is_usable
    order by timestamp desc
    limit 1
),

{% if is_incremental() %}

landed_since as (
    select coalesce(max(synced_at), '-infinity') as synced_at
    from {{ this }}
),

minutes_without_bar as (
    select rejects.epoch_minute
    from {{ bars }} as rejects, landed_since
    where rejects.extracted_at > landed_since.synced_at
        and rejects.{{ on_grid }}
        and {{ _alone_with_rejects(bars) }}
),

so_far as (
    select
        (extract(epoch from max(timestamp)) / 60)::bigint as newest_minute,
        (extract(epoch from min(timestamp)) / 60)::bigint as oldest_minute
    from {{ this }}
),

{# The oldest row that stays, none while there is room for older ones. It counts through the whole table, so it is
   asked for only where the answer matters, behind what is cheap to know. #}
cap as (
    select (extract(epoch from timestamp) / 60)::bigint as epoch_minute
    from {{ this }}
    where timestamp not in (select to_timestamp(epoch_minute * 60) from minutes_without_bar)
    order by timestamp desc
    limit 1 offset {{ cap - 1 }}
),

minutes_to_compute as (
    select bars.epoch_minute
    from {{ bars }} as bars, landed_since, so_far
    where bars.extracted_at > landed_since.synced_at
        and bars.{{ on_grid }}
        and case
            when bars.epoch_minute > so_far.newest_minute then true
            when exists (
                select
                from {{ this }}
                where timestamp = to_timestamp(bars.epoch_minute * 60)
            ) then true
            else bars.epoch_minute >= coalesce((select epoch_minute from cap), 0)
        end
    union
    select epoch_minute
    from newest
    union
    select newest_minute
    from so_far
    where newest_minute is not null
    union
    (
        select distinct bars.epoch_minute
        from {{ bars }} as bars, so_far
        where bars.timestamp < so_far.oldest_minute * 60
            and bars.{{ on_grid }}
            and bars.is_usable
            and case
                when exists (
                    select
                    from {{ bars }} as older, so_far as table_so_far
                    where older.timestamp < table_so_far.oldest_minute * 60
                        and older.{{ on_grid }}
                        and older.is_usable
                ) then not exists (select from cap)
                else false
            end
        order by bars.epoch_minute desc
        limit {{ cap }}
    )
),

sampled as (
    select bar.*
    from minutes_to_compute
    cross join lateral (
        select *
        from {{ bars }}
        where timestamp >= minutes_to_compute.epoch_minute * 60
            and timestamp < minutes_to_compute.epoch_minute * 60 + 60
        order by is_usable desc, timestamp desc
        limit 1
    ) as bar
),

{% else %}

newest_of_minute as (
    select distinct on (epoch_minute) timestamp
    from {{ bars }}
    where {{ on_grid }} and is_usable
    order by epoch_minute desc, timestamp desc
    limit {{ cap }}
),

{% if repairing %}

newest_reject_of_minute as (
    select distinct on (rejects.epoch_minute) rejects.timestamp
    from {{ bars }} as rejects
    where rejects.{{ on_grid }}
        and {{ _alone_with_rejects(bars) }}
    order by rejects.epoch_minute desc, rejects.timestamp desc
),

{# what staging has let go of is history, and having no bar there means nothing #}
candles_without_bar as (
    select candle.timestamp
    from {{ this }} as candle
    where candle.timestamp >= (select to_timestamp(min(epoch_minute) * 60) from {{ bars }} where not is_history)
        and (
            candle.timestamp <> date_trunc('minute', candle.timestamp)
            or not exists (
                select
                from {{ bars }} as bars
                where bars.timestamp >= extract(epoch from candle.timestamp)::bigint
                    and bars.timestamp < extract(epoch from candle.timestamp)::bigint + 60
                    and bars.{{ on_grid }}
            )
        )
),

{% endif %}

sampled as (
    select bars.*
    from {{ bars }} as bars
    {% if repairing %}
    where bars.timestamp in (
        select timestamp from newest_of_minute
        union all
        select timestamp from newest_reject_of_minute
    )
    {% else %}
    inner join newest_of_minute using (timestamp)
    {% endif %}
),

{% endif %}

{# `sampled` is read once, so that Postgres parses a dynamic column only where it is kept #}
final as (
    select
        to_timestamp(sampled.epoch_minute * 60) as timestamp,
        case when sampled.is_usable then sampled.open end as open,
        sampled.high,
        sampled.low,
        sampled.close,
        case when sampled.epoch_minute = newest.epoch_minute then sampled.fractals end as fractals,
        case when sampled.epoch_minute = newest.epoch_minute then sampled.horizontal_trendlines end
            as horizontal_trendlines,
        case when sampled.epoch_minute = newest.epoch_minute then sampled.diagonal_trendlines end
            as diagonal_trendlines,
        sampled.momentum_candles,
        sampled.keltner_channels,
        sampled.tema,
        sampled.hrma,
        sampled.smma,
        sampled.zigzag,
        sampled.extracted_at as synced_at
    from sampled
    left join newest on true
    {% if repairing %}
    union all
    select
        timestamp
        {{ ', null' * (candle_columns() | length - 1) }}
    from candles_without_bar
    {% endif %}
)

select * from final
{% endmacro %}

{# Condition on a bar `rejects`: neither it nor any other bar of its minute is usable. #}
{% macro _alone_with_rejects(bars) -%}
not rejects.is_usable
        and not exists (
            select
            from {{ bars }} as others
            where others.timestamp >= rejects.epoch_minute * 60
                and others.timestamp < rejects.epoch_minute * 60 + 60
                and others.is_usable
        )
{%- endmacro %}

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
