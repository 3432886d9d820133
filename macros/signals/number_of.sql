{# A JSON value as NUMERIC; NULL if it is no number. #}
{% macro number_of(value) -%}
    case when jsonb_typeof({{ value }}) = 'number' then ({{ value }})::numeric end
{%- endmacro %}
