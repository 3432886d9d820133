{#
    Hook: take statistics of a table that has at least doubled since they were last taken. A backfill lands and is
    built within seconds, long before autovacuum looks, and without statistics Postgres plans as for an empty table.
#}
{% macro analyze_when_grown(relation) %}
do $analyze_when_grown$
begin
    if pg_relation_size('{{ relation }}') > (
        select 2 * greatest(relpages, 4)::bigint * current_setting('block_size')::bigint
        from pg_class
        where oid = '{{ relation }}'::regclass
    ) then
        analyze {{ relation }};
    end if;
end
$analyze_when_grown$
{% endmacro %}
