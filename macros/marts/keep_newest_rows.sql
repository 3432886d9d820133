{#
    Post-hook of the candle tables: after an increment, delete what lies beyond the newest `max_rows_per_table`
    rows, in the transaction of the upsert; a full build returns no more than those. The cutoff is read first and the DELETE names it as a constant: with a subquery
    TimescaleDB decompresses the whole table.
#}
{% macro keep_newest_rows() %}
    {% if execute and is_incremental() %}
        {% set newest_surplus = run_query(
            'select extract(epoch from timestamp)::bigint from ' ~ this
            ~ ' order by timestamp desc offset ' ~ max_rows_per_table() ~ ' limit 1'
        ) %}
        {% if newest_surplus | length > 0 %}
            delete from {{ this }}
            where timestamp <= to_timestamp({{ newest_surplus[0][0] }})
        {% endif %}
    {% endif %}
{% endmacro %}
