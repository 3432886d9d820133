{# A string literal. #}
{% macro _literal(text) -%}
    '{{ text | replace("'", "''") }}'
{%- endmacro %}

{# Column names, quoted, prefixed and comma-separated. #}
{% macro _quoted(names, prefix='') -%}
    {%- for name in names %}{{ prefix }}{{ adapter.quote(name) }}{{ ', ' if not loop.last }}{% endfor -%}
{%- endmacro %}
