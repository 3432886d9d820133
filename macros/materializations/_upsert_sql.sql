{#
    The one statement of an increment. `everything` says that the model's rows are the whole table: then what
    it does not return is deleted too. The model runs once; rows that equal the target's are left out before
    the insert, so that an unchanged row is neither rewritten nor locked.
#}
{% macro _upsert_sql(target, sql, contract, everything) %}
    {% set names = contract.columns | map(attribute='name') | list %}
    {% set unique_key = contract.unique_key %}
    {% set values = names | reject('in', unique_key) | list %}
    {% set delete_when = config.get('delete_when') %}
    {% set same_key -%}
        {%- for name in unique_key %}{{ 'and ' if not loop.first }}target.{{ adapter.quote(name) }} = incoming.{{ adapter.quote(name) }}{{ ' ' if not loop.last }}{% endfor -%}
    {%- endset %}
    {# Two dbt runs at once take turns: with an older snapshot, one would undo what the other wrote. An advisory
       lock, because a table lock would cancel autovacuum again and again. #}
    select pg_advisory_xact_lock(hashtextextended({{ _literal(target | string) }}, 0));

    with incoming as materialized (
        select {{ _quoted(names) }}
        from (
            {{ sql }}
        ) as model
    )
    {% if delete_when or everything %}
    , removed as (
        delete from {{ target }} as target
        {% if everything %}
        where not exists (select from incoming where {{ same_key }}{% if delete_when %} and ({{ delete_when }}) is not true{% endif %})
        {% else %}
        using (select * from incoming where {{ delete_when }}) as incoming
        where {{ same_key }}
        {% endif %}
    )
    {% endif %}
    insert into {{ target }} as target ({{ _quoted(names) }})
    select {{ _quoted(names) }}
    from incoming
    where not exists (
        select
        from {{ target }} as target
        where {{ same_key }}
            and ({{ _quoted(values, 'target.') }}) is not distinct from ({{ _quoted(values, 'incoming.') }})
    )
    {% if delete_when %}
        and ({{ delete_when }}) is not true
    {% endif %}
    on conflict ({{ _quoted(unique_key) }}) do update
    set
    {% for name in values %}
        {{ adapter.quote(name) }} = excluded.{{ adapter.quote(name) }}{{ ',' if not loop.last }}
    {% endfor %}
{% endmacro %}

{# Column names, quoted, prefixed and comma-separated. #}
{% macro _quoted(names, prefix='') -%}
    {%- for name in names %}{{ prefix }}{{ adapter.quote(name) }}{{ ', ' if not loop.last }}{% endfor -%}
{%- endmacro %}
