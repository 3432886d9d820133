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
