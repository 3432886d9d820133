{#
    Steps of an increment of `candles`: `newest`, the minute of the table's newest row, and `sampled`, the bars of the
    minutes that can have changed. Those are: the minutes with a row landed since the table's newest `synced_at`; the
    newest minute of the bars and that of the table (the dynamic columns move from the old one to the new one); and,
    while the table is below its cap, minutes older than its oldest row.
#}
{% macro candle_increment_steps() %}
landed_since as (
    select coalesce(max(synced_at), '-infinity') as synced_at
    from {{ this }}
),

{# a future bar that the source has withdrawn is deleted from staging; any other missing bar is history #}
withdrawn as (
    select candle.timestamp
    from {{ this }} as candle
    where candle.timestamp > now()
        and not exists (
            select
            from bars
            where bars.timestamp >= extract(epoch from candle.timestamp)::bigint
                and bars.timestamp < extract(epoch from candle.timestamp)::bigint + 60
        )
),

minutes_without_bar as (
    select rejects.epoch_minute
    from bars as rejects, landed_since
    where rejects.extracted_at > landed_since.synced_at
        and {{ alone_with_rejects() }}
    union all
    select (extract(epoch from timestamp) / 60)::bigint
    from withdrawn
),

so_far as (
    select
        (extract(epoch from max(timestamp)) / 60)::bigint as newest_minute,
        (extract(epoch from min(timestamp)) / 60)::bigint as oldest_minute
    from {{ this }}
),

newest as (
    select greatest(
        (select epoch_minute from newest_bar),
        (
            select (extract(epoch from timestamp) / 60)::bigint
            from {{ this }}
            where timestamp not in (select to_timestamp(epoch_minute * 60) from minutes_without_bar)
            order by timestamp desc
            limit 1
        )
    ) as epoch_minute
),

{# The oldest row that stays; none while the table has room for older ones. Finding it counts the whole table, so it is
   evaluated only when needed, after cheaper conditions. Rows about to be deleted are counted separately, because
   leaving them out one by one takes longer than the count. If those are the oldest rows, the result may be older than
   necessary, and the pruning corrects that. #}
cap as (
    select (extract(epoch from timestamp) / 60)::bigint as epoch_minute
    from (
        select timestamp
        from {{ this }}
        order by timestamp desc
        limit 1
        offset {{ max_rows_per_table() }} - 1 + (
            select count(*)
            from {{ this }}
            where timestamp in (select to_timestamp(epoch_minute * 60) from minutes_without_bar)
        )
    ) as oldest_kept
),

{# the first entry of its index, so that finding nothing older costs no scan #}
oldest_bar as (
    select timestamp
    from bars
    where is_usable
    order by timestamp
    limit 1
),

minutes_to_compute as (
    select bars.epoch_minute
    from bars, landed_since, so_far
    where bars.extracted_at > landed_since.synced_at
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
    from newest_bar
    union
    select newest_minute
    from so_far
    where newest_minute is not null
    union
    (
        select distinct bars.epoch_minute
        from bars, so_far, oldest_bar
        where bars.timestamp < so_far.oldest_minute * 60
            and bars.is_usable
            and case
                when oldest_bar.timestamp < so_far.oldest_minute * 60 then not exists (select from cap)
                else false
            end
        order by bars.epoch_minute desc
        limit {{ max_rows_per_table() }}
    )
),

sampled as (
    select bar.*
    from minutes_to_compute
    cross join lateral (
        select *
        from bars
        where timestamp >= minutes_to_compute.epoch_minute * 60
            and timestamp < minutes_to_compute.epoch_minute * 60 + 60
        order by is_usable desc, timestamp desc
        limit 1
    ) as bar
),
{% endmacro %}
