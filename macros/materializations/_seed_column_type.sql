{# The type of a column of a seed. #}
{% macro _seed_column_type(model, agate_table, place, name) -%}
    {{ model.config.column_types.get(name, adapter.convert_type(agate_table, place)) }}
{%- endmacro %}
