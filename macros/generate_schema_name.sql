{#
    Production is the target named `warehouse`: its schemas are the ones that the models name (`staging`, `ops`, …). In
    any other target the schemas get a prefix, such as `<target.schema>_ops`, so that a trial cannot replace a view that
    production reads. Sources keep their schemas.
#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- set custom = (custom_schema_name or '') | trim -%}
    {%- if target.name != 'warehouse' and target.schema in ['public', 'staging', 'ops', 'trading', 'accounts', 'market', 'signals', 'api'] -%}
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
