{#
    Steps of a full refresh of `candles`: the newest bar of every minute, a reject if a minute has only rejects, and the
    candles without any bar. Candles from a time that staging has pruned are history: they stay without a bar.
#}
{% macro candle_repair_steps(all_bars) %}
staging_start as (
    select coalesce(to_timestamp(min(epoch_minute) * 60), 'infinity') as timestamp
    from {{ all_bars }}
    where not is_history
),

{# materialized, or Postgres looks for it again for every row #}
newest as materialized (
    select greatest(
        (select epoch_minute from newest_bar),
        (
            select (extract(epoch from max(candle.timestamp)) / 60)::bigint
            from {{ this }} as candle, staging_start
            where candle.timestamp < staging_start.timestamp
        )
    ) as epoch_minute
),

newest_of_minute as (
    select distinct on (epoch_minute) timestamp
    from bars
    where is_usable
    order by epoch_minute desc, timestamp desc
    limit {{ max_rows_per_table() }}
),

newest_reject_of_minute as (
    select distinct on (rejects.epoch_minute) rejects.timestamp
    from bars as rejects
    where {{ alone_with_rejects() }}
    order by rejects.epoch_minute desc, rejects.timestamp desc
),

candles_without_bar as (
    select candle.timestamp
    from {{ this }} as candle
    cross join staging_start
    where staging_start.timestamp < 'infinity'
        and candle.timestamp >= staging_start.timestamp
        and (
            candle.timestamp <> date_trunc('minute', candle.timestamp)
            or not exists (
                select
                from bars
                where bars.timestamp >= extract(epoch from candle.timestamp)::bigint
                    and bars.timestamp < extract(epoch from candle.timestamp)::bigint + 60
            )
        )
),

sampled as (
    select bars.*
    from bars
    where bars.timestamp in (
        select timestamp from newest_of_minute
        union all
        select timestamp from newest_reject_of_minute
    )
),
{% endmacro %}
