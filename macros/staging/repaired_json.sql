{#
    Text as jsonb: as it is, else with the bracket put back that the collector drops from an empty list
    (`":]` for `":[]`), else NULL.
#}
{% macro repaired_json(column) -%}
    coalesce(staging.try_jsonb({{ column }}), staging.try_jsonb(replace({{ column }}, '":]', '":[]')))
{%- endmacro %}
