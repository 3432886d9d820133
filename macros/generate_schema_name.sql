{#
    Production is the target named `warehouse`: its schemas are the ones the models name (`staging`, `ops`, …). In
    any other target all of it goes below a prefix, `<target.schema>_ops`, so that nobody's trial replaces a view that
    production reads. Sources stay where they are.
#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- set custom = (custom_schema_name or '') | trim -%}
    {%- if target.name != 'warehouse' and target.schema in ['public', 'staging', 'ops', 'trading', 'accounts'] -%}
        {%- do exceptions.raise_compiler_error(
            "target '" ~ target.name ~ "' has schema '" ~ target.schema ~ "', which is production's. Give it a schema "
            ~ "of its own, or name the target 'warehouse' if it is production"
        ) -%}
    {%- endif -%}
    {%- if not custom -%}
        {{ target.schema }}
    {%- elif target.name == 'warehouse' -%}
        {{ custom }}
    {%- else -%}
        {{ target.schema }}_{{ custom }}
    {%- endif -%}
{%- endmacro %}
