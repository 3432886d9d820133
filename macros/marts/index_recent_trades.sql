{#
    A hook for `completed_trades`: keeps an index of the trades of the last 90 days, which most questions are about. The
    bound of a partial index cannot move, so the index is made again once its bound is twice as old.
#}
{% macro index_recent_trades(relation) %}
{% set table = relation.render() %}
{% set index = relation.incorporate(path={'identifier': relation.identifier ~ '_recent'}).include(database=false).render() %}
do $index_recent_trades$
declare
    bound constant date := current_date - 90;
begin
    if coalesce(obj_description(to_regclass('{{ index }}'), 'pg_class')::date, '-infinity') < bound - 90 then
        drop index if exists {{ index }};
        execute format(
            'create index {{ relation.identifier }}_recent on {{ table }} (bot_id, exit_time) where exit_time >= %L',
            bound::timestamp at time zone 'UTC'
        );
        execute format('comment on index {{ index }} is %L', bound);
    end if;
end
$index_recent_trades$
{% endmacro %}
