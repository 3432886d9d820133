{#
    Seeds with `meta.unique_key` add their rows to the table: rows that others inserted stay, and so do values where the
    file has none. Only rows that differ are written. Other seeds are dbt's own.
#}
{% macro postgres__reset_csv_table(model, full_refresh, old_relation, agate_table) %}
    {% if not model.config.meta.get('unique_key') %}
        {% do return(dbt.default__reset_csv_table(model, full_refresh, old_relation, agate_table)) %}
    {% endif %}
    {% set known = adapter.get_columns_in_relation(old_relation) | map(attribute='name') | list %}
    {% for name in agate_table.column_names if name not in known %}
        {% call statement('add_column') %}
            alter table {{ old_relation }} add column {{ adapter.quote(name) }} {{ _seed_column_type(model, agate_table, loop.index0, name) }}
        {% endcall %}
    {% endfor %}
    {% do return('') %}
{% endmacro %}

{% macro postgres__load_csv_rows(model, agate_table) %}
    {% set key = model.config.meta.get('unique_key') %}
    {% if not key %}
        {% do return(dbt.default__load_csv_rows(model, agate_table)) %}
    {% endif %}
    {% set names = agate_table.column_names %}
    {% set sql %}
        with

        given ({{ _quoted(names) }}) as (
            values
            {% for _ in agate_table.rows %}
            (
                {%- for name in names -%}
                cast(%s as {{ _seed_column_type(model, agate_table, loop.index0, name) }}){{ ', ' if not loop.last }}
                {%- endfor -%}
            ){{ ',' if not loop.last }}
            {% endfor %}
        ),

        corrected as (
            update {{ this }} as known
            set {% for name in names if name != key %}{{ adapter.quote(name) }} = coalesce(given.{{ adapter.quote(name) }}, known.{{ adapter.quote(name) }}){{ ', ' if not loop.last }}{% endfor %}

            from given
            where known.{{ adapter.quote(key) }} = given.{{ adapter.quote(key) }}
                and (
                {% for name in names if name != key %}
                    known.{{ adapter.quote(name) }} <> given.{{ adapter.quote(name) }}
                    or known.{{ adapter.quote(name) }} is null and given.{{ adapter.quote(name) }} is not null{{ ' or' if not loop.last }}
                {% endfor %}
                )
        )

        insert into {{ this }} ({{ _quoted(names) }})
        select {{ _quoted(names) }}
        from given
        where not exists (select from {{ this }} as known where known.{{ adapter.quote(key) }} = given.{{ adapter.quote(key) }})
    {% endset %}
    {% set bindings = [] %}
    {% for row in agate_table.rows %}
        {% do bindings.extend(row) %}
    {% endfor %}
    {% do adapter.add_query(sql, bindings=bindings, abridge_sql_log=True) %}
    {% do return(sql) %}
{% endmacro %}

{% macro _seed_column_type(model, agate_table, place, name) -%}
    {{ model.config.column_types.get(name, adapter.convert_type(agate_table, place)) }}
{%- endmacro %}
