{#
    A select list in the order of the model's contract: the keys as given, NULL in every other column. With
    `delete_when` on a column that is never NULL otherwise, such a row deletes the one with its key.
#}
{% macro tombstone(keys) -%}
    {%- set unknown = keys.keys() | reject('in', model.columns.keys()) | list -%}
    {%- if execute and unknown -%}
        {%- do exceptions.raise_compiler_error(
            "tombstone(): keys names '" ~ unknown | join("', '") ~ "'; columns of the model are "
            ~ model.columns.keys() | join(', ')
        ) -%}
    {%- endif -%}
    {%- for column in model.columns.values() -%}
        cast({{ keys.get(column.name, 'null') }} as {{ column.data_type }}) as {{ column.name }}{{ ',\n        ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}
