{# How many newest rows a candle table keeps, as SQL: a row of `ops.settings`, or 10,000 without it. #}
{% macro max_rows_per_table() %}ops.max_rows_per_table(){% endmacro %}
