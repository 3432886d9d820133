{#
    dbt's view materialization for Postgres, in place. dbt's own makes a new view and drops the old one by cascade,
    with everything that depends on it.

    - If the definition has not changed, nothing is done.
    - If columns were added at the end, or only the query changed: `create or replace view`, which keeps grants,
      comments and dependents.
    - If columns were dropped, renamed or retyped: the dependents are saved, the view is made again, and the dependents
      are restored, in one transaction (see `_dependents.sql`).

    Two runs that build the same view take turns.
#}
{% materialization view, adapter='postgres' %}
    {% set target = this.incorporate(type='view') %}
    {% set probe = this.incorporate(type='view', path={'database': none, 'schema': 'pg_temp'}) %}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {% call statement('probe') %}
        select pg_advisory_xact_lock(hashtextextended({{ _literal(target | string) }}, 0));
        {{ get_create_view_as_sql(probe, sql) }}
    {% endcall %}
    {% set change = run_query(_view_change_sql(target, probe))[0] %}
    {% call statement('drop_probe') %}
        drop view {{ probe }}
    {% endcall %}

    {% if change['kind'] == 'view' and change['is_same'] %}
        {% call noop_statement('main', 'UNCHANGED') %}
            {{ sql }}
        {% endcall %}
    {% else %}
        {% set replaces = change['kind'] is none or (change['kind'] == 'view' and change['extends']) %}
        {% set saved = [] if replaces else _saved_dependents(target, itself=change['kind'] == 'view') %}
        {% if not replaces %}
            {% do _drop_dependents(saved) %}
            {% if change['kind'] != 'view' %}
                {% call statement('drop_existing') %}
                    drop {{ change['kind'] }} {{ target }}
                {% endcall %}
            {% endif %}
        {% endif %}
        {% call statement('main') %}
            {{ config.get('sql_header') or '' }}
            create or replace view {{ target }} {{ change['options'] or '' }} as (
                {{ sql }}
            )
        {% endcall %}
        {% if saved and change['kind'] == 'view' %}
            {# the view's own entry now has the new definition, with the same owner, comments and grants #}
            {% do saved[0].update({'create': none}) %}
        {% endif %}
        {% do _restore_dependents(saved) %}
    {% endif %}

    {% do apply_grants(target, config.get('grants'), should_revoke=True) %}
    {% do _comment_view(target) %}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target]}) }}
{% endmaterialization %}

{# How the view in the warehouse differs from the one just tried out: {kind (none: there is none), is_same, extends,
   options}. `extends` says that its columns are the first ones of the other. #}
{% macro _view_change_sql(target, probe) %}
with

names as (
    select
        to_regclass({{ _literal(target | string) }})::oid as existing,
        to_regclass({{ _literal(probe | string) }})::oid as probe
),

columns as (
    select attrelid, attnum, attname, atttypid, atttypmod, attcollation
    from pg_attribute
    where attnum > 0 and not attisdropped
)

select
    case relkind when 'v' then 'view' when 'm' then 'materialized view' when 'r' then 'table' when 'p' then 'table' end
        as kind,
    pg_get_viewdef(existing) = pg_get_viewdef(probe) as is_same,
    not exists (
        select attnum, attname, atttypid, atttypmod, attcollation from columns where attrelid = existing
        except
        select attnum, attname, atttypid, atttypmod, attcollation from columns where attrelid = probe
    ) as extends,
    'with (' || nullif(array_to_string(reloptions, ', '), '') || ')' as options
from names
left join pg_class on pg_class.oid = existing
{% endmacro %}

{# `persist_docs`: the comments that differ, on the view and on those of the model's columns that it has. #}
{% macro _comment_view(target) %}
    {% if config.persist_relation_docs() or config.persist_column_docs() %}
        {% set state = _table_state(target) %}
        {% set columns = model.columns.values() | selectattr('name', 'in', state.columns) | list %}
        {% set statements = _comments('view', target, columns, state) %}
        {% if statements %}
            {% call statement('comment_view') %}
                {{ statements | join(';\n') }}
            {% endcall %}
        {% endif %}
    {% endif %}
{% endmacro %}
