{# Whether the server process with this number is there and holds an advisory lock, as the process of a run does. #}
{% macro holds_a_run_lock(pid) -%}
exists (
    select
    from pg_locks
    inner join pg_database on pg_locks.database = pg_database.oid
    where
        pg_locks.locktype = 'advisory'
        and pg_locks.granted
        and pg_locks.pid = {{ pid }}
        and pg_database.datname = current_database()
)
{%- endmacro %}
