{#
    A condition: a fill stands at a place or after it, in the same account, category and symbol. The comparison of times
    alone says nothing new, but an index can use it.
#}
{% macro from_place_on(fill, place) -%}
    {{ fill }}.account_uid = {{ place }}.account_uid
            and {{ fill }}.category = {{ place }}.category
            and {{ fill }}.symbol = {{ place }}.symbol
            and {{ fill }}.exec_time >= {{ place }}.exec_time
            and {{ fill_place(fill) }} >= {{ fill_place(place) }}
{%- endmacro %}
