{#
    Post-hook of the candle tables: delete what lies beyond the newest `max_rows_per_table` rows, in the
    transaction of the upsert. The cutoff is read first and the DELETE names it as a constant: with a subquery
    TimescaleDB decompresses the whole table. Finding the cutoff counts through the table, so it is left out where
    the upsert reports (`upsert.rows_added`) that the table has not grown.
#}
{% macro keep_newest_rows() %}
do $keep_newest_rows$
declare
    newest_surplus timestamptz;
    drop_chunks text;
begin
    if current_setting('upsert.rows_added', true) = '0' then
        return;
    end if;
    select timestamp into newest_surplus
    from {{ this }}
    order by timestamp desc
    offset {{ max_rows_per_table() }} limit 1;
    if found then
        execute format($$delete from {{ this }} where timestamp <= %L$$, newest_surplus);
        {# A TimescaleDB chunk outlives its last row. Only a hypertable has children; asking that first costs a plain
           table 0.1 ms. The extension may be in any schema. #}
        if exists (select from pg_inherits where inhparent = '{{ this }}'::regclass) then
            for drop_chunks in
                select format('select %I.drop_chunks(%L, older_than => %L::timestamptz)', nspname, '{{ this }}', newest_surplus)
                from pg_extension
                inner join pg_namespace on pg_namespace.oid = extnamespace
                where extname = 'timescaledb'
            loop
                execute drop_chunks;
            end loop;
        end if;
    end if;
end
$keep_newest_rows$
{% endmacro %}
