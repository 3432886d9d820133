{#
    Hook: analyze a table that has at least doubled since its last analyze. A backfill lands and is built within
    seconds, before autovacuum runs, and without statistics Postgres plans as for an empty table.
#}
{% macro analyze_when_grown(relation) %}
{# by name: with `dbt build --empty` a relation stands for a query #}
{% set table = relation.render() %}
do $analyze_when_grown$
begin
    if pg_relation_size('{{ table }}') > (
        select 2 * greatest(relpages, 4)::bigint * current_setting('block_size')::bigint
        from pg_class
        where oid = '{{ table }}'::regclass
    ) then
        analyze {{ table }};
    end if;
end
$analyze_when_grown$
{% endmacro %}
