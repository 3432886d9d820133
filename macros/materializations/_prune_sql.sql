{#
    Statements of a plpgsql block, after `_upsert_sql`: delete what lies beyond the newest `keep_newest_rows` rows by
    the unique key. The cutoff is read first and the DELETE names it as a constant: with a subquery TimescaleDB
    decompresses the whole table.

    A TimescaleDB chunk stays when its last row is deleted and has to be dropped, which waits for all its readers. The
    wait is short; a chunk that remains is dropped at the next pruning. Only a hypertable has children; checking that
    first costs a plain table 0.1 ms. The extension may be in any schema.
#}
{% macro _prune_sql(target, contract) %}
    {% set key = adapter.quote(contract.unique_key[0]) %}
    select {{ key }} into upsert_newest_surplus
    from {{ target }}
    order by {{ key }} desc
    offset {{ _upsert_config('keep_newest_rows') }} limit 1;
    if found then
        execute format('delete from {{ target }} where {{ key }} <= %L', upsert_newest_surplus);
        get diagnostics upsert_deleted = row_count;
        upsert_rows := upsert_rows + upsert_deleted;
        if exists (select from pg_inherits where inhparent = '{{ target }}'::regclass) then
            upsert_lock_timeout := current_setting('lock_timeout');
            begin
                perform set_config('lock_timeout', '200ms', true);
                for upsert_drop_chunks in
                    select format(
                        'select %I.drop_chunks(%L, older_than => %L::timestamptz)',
                        nspname, '{{ target }}', upsert_newest_surplus
                    )
                    from pg_extension
                    inner join pg_namespace on pg_namespace.oid = extnamespace
                    where extname = 'timescaledb'
                loop
                    execute upsert_drop_chunks;
                end loop;
            exception when lock_not_available then
                null; -- somebody reads a chunk
            end;
            perform set_config('lock_timeout', upsert_lock_timeout, true);
        end if;
    end if;
{% endmacro %}

{# What `_prune_sql` keeps between its statements, beside the upsert's. #}
{% macro _prune_variables(contract) %}
    {% set column = contract.columns | selectattr('name', 'equalto', contract.unique_key[0]) | first %}
    upsert_newest_surplus {{ column.type }};
    upsert_lock_timeout text;
    upsert_drop_chunks text;
{%- endmacro %}
