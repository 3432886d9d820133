{# Rows and bytes are the catalog's: counting would read all 135 tables. A hypertable's rows lie in its chunks. #}
{% set one_of_them = ref(var('symbols') | first ~ '_' ~ var('timeframes') | first | lower) %}
with

candle_tables as (
    select
        symbol,
        timeframe,
        minutes,
        newest_bar,
        symbol || '_' || lower(timeframe) as identifier,
        to_regclass(format('%I.%I', '{{ one_of_them.schema }}', symbol || '_' || lower(timeframe))) as table_oid
    from {{ all_rows_of(ref('candle_tables')) }}
),

final as (
    select
        candle_tables.symbol,
        candle_tables.minutes,
        sizes.bytes,
        json_build_object(
            'symbol', upper(candle_tables.symbol),
            'timeframe', candle_tables.timeframe,
            'table', candle_tables.identifier,
            'rows', sizes.estimated_rows,
            'newest_bar', {{ iso_text('candle_tables.newest_bar') }},
            'bytes', sizes.bytes
        ) as answer
    from candle_tables
    cross join lateral (
        select
            sum(reltuples::bigint) filter (where reltuples >= 0) as estimated_rows,
            sum(pg_total_relation_size(pg_class.oid)) as bytes
        from (
            select candle_tables.table_oid as oid
            union all
            select inhrelid
            from pg_inherits
            where inhparent = candle_tables.table_oid
        ) as parts
        inner join pg_class on parts.oid = pg_class.oid
    ) as sizes
)

select
    json_build_object(
        'success', true,
        'total_count', count(*),
        'total_bytes', sum(bytes),
        'tables', json_agg(answer order by symbol, minutes)
    )
from final
