{# A number of a JSON object under the first of some names that has one, as NUMERIC; anything else is NULL. #}
{% macro json_number(payload, names) -%}
    {%- set numbers = [] -%}
    {%- for name in names -%}
        {%- do numbers.append(
            "case when jsonb_typeof(" ~ payload ~ " -> '" ~ name ~ "') = 'number' then ("
            ~ payload ~ " ->> '" ~ name ~ "')::numeric end"
        ) -%}
    {%- endfor -%}
    coalesce({{ numbers | join(', ') }})
{%- endmacro %}
