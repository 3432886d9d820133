{#
    The increment of a model as a function in the warehouse: `refresh.<model>()`, or the schema of that name in another
    target. It returns how many rows it wrote. dbt calls it to run an increment, and so does `ops.refresh`, which brings
    tables up to date without dbt.

    Returns {schema, name, settings, body, md5}; `name` is ready for SQL.
#}
{% macro _refresh_function(target, contract, pre_hooks, post_hooks) %}
    {% set schema = generate_schema_name('refresh', model) | trim %}
    {% set settings = {'jit': 'off'} %}
    {% do settings.update(_upsert_config('refresh_settings', {})) %}
    {% set body = _refresh_body(target, _increment_of_model(), contract, schema, pre_hooks, post_hooks) %}
    {% do return({
        'schema': schema,
        'name': adapter.quote(schema) ~ '.' ~ adapter.quote(model.name),
        'settings': settings,
        'body': body,
        'md5': local_md5(body),
    }) %}
{% endmacro %}

{# The SQL of the model's increment, even if this build is a full one. #}
{% macro _increment_of_model() %}
    {% if is_incremental() %}
        {% do return(sql) %}
    {% endif %}
    {% do model.update({'is_rendered_as_increment': true}) %}
    {% set increment = render(model.raw_code) %}
    {% do model.update({'is_rendered_as_increment': false}) %}
    {% if '__dbt__cte__' in increment %}
        {% do exceptions.raise_compiler_error('an upsert model cannot read an ephemeral model; make that one a view') %}
    {% endif %}
    {% do return(increment) %}
{% endmacro %}

{# The advisory lock of a model's table. Writers take turns, because one with an older snapshot would undo what the
   other wrote. (A table lock would cancel autovacuum again and again.) `ops.refresh` takes the same lock. #}
{% macro _table_lock(schema) -%}
    pg_advisory_xact_lock(hashtextextended({{ _literal(schema ~ '.' ~ model.name) }}, 0))
{%- endmacro %}

{# How a plpgsql body with an upsert or a pruning begins. #}
{% macro _declarations(contract) -%}
#variable_conflict use_column
declare
    {{ _upsert_variables(contract) }}
    {% if _upsert_config('keep_newest_rows') %}
    {{ _prune_variables(contract) }}
    {% endif %}
{%- endmacro %}

{% macro _refresh_body(target, sql, contract, schema, pre_hooks, post_hooks) %}
{{ _declarations(contract) }}
begin
    perform {{ _table_lock(schema) }};
    {% for hook in pre_hooks if hook.transaction %}
    execute {{ _literal(render(hook.sql) | trim) }};
    {% endfor %}
    {{ _upsert_sql(target, sql, contract) }}
    {% if _upsert_config('keep_newest_rows') %}
    if upsert_added > 0 then
        {{ _prune_sql(target, contract) }}
    end if;
    {% endif %}
    {% for hook in post_hooks if hook.transaction %}
    execute {{ _literal(render(hook.sql) | trim) }};
    {% endfor %}
    return upsert_rows;
end
{% endmacro %}

{# A block for a build that has no function to call: the upsert of all rows, or the pruning alone. #}
{% macro _block(contract, statements) -%}
do {% set body %}
{{ _declarations(contract) }}
begin
    {{ statements }}
end
{% endset %}{{ _literal(body) }}
{%- endmacro %}

{# The settings of the function, for a build that does not call it. #}
{% macro _local_settings(function) -%}
    {% for name, value in function.settings.items() %}
    set local {{ name }} = {{ _literal(value | string) }};
    {% endfor %}
{%- endmacro %}

{# Take the table's lock, and say whether the warehouse has {the schema, the function as it is now}. #}
{% macro _lock_table(function) %}
    {% set found = run_query(
        "select " ~ _table_lock(function.schema) ~ "::text as lock,
            to_regnamespace(" ~ _literal(adapter.quote(function.schema)) ~ ") is not null as has_schema,
            (
                select md5(prosrc) || array_to_string(proconfig, ',')
                from pg_proc
                where oid = to_regprocedure(" ~ _literal(function.name ~ '()') ~ ")
            ) as version"
    )[0] %}
    {% set settings = [] %}
    {% for name, value in function.settings.items() %}
        {% do settings.append(name ~ '=' ~ value) %}
    {% endfor %}
    {% do return({
        'has_schema': found['has_schema'],
        'has_function': found['version'] == function.md5 ~ settings | join(','),
    }) %}
{% endmacro %}

{# Statements that store the function in the warehouse; none if it is there already with the same text. #}
{% macro _refresh_function_sql(function, found) -%}
    {%- if not found.has_function -%}
        {%- if not found.has_schema %}
        create schema if not exists {{ adapter.quote(function.schema) }};
        {%- endif %}
        create or replace function {{ function.name }}() returns bigint
        language plpgsql
        {%- for name, value in function.settings.items() %}
        set {{ name }} = {{ _literal(value | string) }}
        {%- endfor %}
        as {{ _literal(function.body) }};
    {%- endif -%}
{%- endmacro %}
