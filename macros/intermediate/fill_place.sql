{# Where a fill stands in the history of its account, category and symbol: a row to compare. #}
{% macro fill_place(fill) -%}
    ({{ fill }}.exec_time, {{ fill }}.seq, {{ fill }}.exec_id collate "C")
{%- endmacro %}
