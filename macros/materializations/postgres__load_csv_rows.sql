{# The rows of a seed with `meta.unique_key`, added to those of its table; see postgres__reset_csv_table.sql. #}
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
