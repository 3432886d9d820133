{#
    The one statement of an increment. `everything` says that the model's rows are the whole table: then what
    it does not return is deleted too, unless the model is `keeps_history`. The model runs once; rows that equal the target's are left out before
    the insert, so that an unchanged row is neither rewritten nor locked. `report_added` leaves in the transaction's
    setting `upsert.rows_added` how many rows the table gained.
#}
{% macro _upsert_sql(target, sql, contract, everything=false, report_added=false) %}
    {% set names = contract.columns | map(attribute='name') | list %}
    {% set unique_key = contract.unique_key %}
    {% set values = names | reject('in', unique_key) | list %}
    {% set delete_when = config.get('delete_when') %}
    {% set same_key -%}
        {%- for name in unique_key %}{{ 'and ' if not loop.first }}target.{{ adapter.quote(name) }} = incoming.{{ adapter.quote(name) }}{{ ' ' if not loop.last }}{% endfor -%}
    {%- endset %}
    {# Two dbt runs at once take turns: with an older snapshot, one would undo what the other wrote. An advisory
       lock, because a table lock would cancel autovacuum again and again. #}
    select pg_advisory_xact_lock(hashtextextended({{ _literal(target | string) }}, 0)){{ ", set_config('upsert.rows_added', '0', true)" if report_added }};

    with incoming as materialized (
        select {{ _quoted(names) }}
        from (
            {{ sql }}
        ) as model
    )
    {% set surplus = everything and not config.get('keeps_history') %}
    {% if delete_when or surplus %}
    , removed as (
        delete from {{ target }} as target
        {% if surplus %}
        where not exists (select from incoming where {{ same_key }}{% if delete_when %} and ({{ delete_when }}) is not true{% endif %})
        {% else %}
        using (select * from incoming where {{ delete_when }}) as incoming
        where {{ same_key }}
        {% endif %}
    )
    {% endif %}
    {% if report_added %}
    , added as (
        select
        from incoming
        where not exists (select from {{ target }} as target where {{ same_key }})
        {% if delete_when %}
            and ({{ delete_when }}) is not true
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
    {% if report_added %}
    returning set_config('upsert.rows_added', (select count(*) from added)::text, true)
    {% endif %}
{% endmacro %}

{#
    Write the increment to `target/run` as one script that can be run again without dbt: the statement between its
    hooks, rendered. The first line tells such a file from the others there. Hooks that run outside the transaction
    make it more than one script, and nothing is written.
#}
{% macro _write_increment(target, sql, contract, pre_hooks, post_hooks) %}
    {% set hooks = pre_hooks + post_hooks %}
    {% if hooks | rejectattr('transaction') | list | length == 0 %}
        {% set statements = ['-- increment of ' ~ target] %}
        {% for hook in pre_hooks %}
            {% do statements.append(render(hook.sql) | trim ~ ';') %}
        {% endfor %}
        {% do statements.append(_upsert_sql(target, sql, contract, report_added=true) | trim ~ ';') %}
        {% for hook in post_hooks %}
            {% do statements.append(render(hook.sql) | trim ~ ';') %}
        {% endfor %}
        {% do write(statements | join('\n')) %}
    {% endif %}
{% endmacro %}

{# Column names, quoted, prefixed and comma-separated. #}
{% macro _quoted(names, prefix='') -%}
    {%- for name in names %}{{ prefix }}{{ adapter.quote(name) }}{{ ', ' if not loop.last }}{% endfor -%}
{%- endmacro %}
