{# Condition: the text is a finite decimal number, which NaN and Infinity, '' and NULL are not. #}
{% macro is_decimal(text) -%}
    coalesce({{ text }} ~ '^-?[0-9]{1,40}([.][0-9]{0,40})?([eE][+-]?[0-9]{1,2})?$', false)
{%- endmacro %}
