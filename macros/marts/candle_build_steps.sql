{# Steps of a build of `candles` from nothing: `newest`, and `sampled`, the newest bar of every minute. #}
{% macro candle_build_steps() %}
{# materialized, or Postgres looks for it again for every row #}
newest as materialized (
    select max(epoch_minute) as epoch_minute
    from newest_bar
),

newest_of_minute as (
    select distinct on (epoch_minute) timestamp
    from bars
    where is_usable
    order by epoch_minute desc, timestamp desc
    limit {{ max_rows_per_table() }}
),

sampled as (
    select bars.*
    from bars
    inner join newest_of_minute using (timestamp)
),
{% endmacro %}
