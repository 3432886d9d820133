{# How many newest rows a candle table keeps: MAX_ROWS_PER_TABLE, or 10,000. #}
{% macro max_rows_per_table() %}
    {% do return(env_var('MAX_ROWS_PER_TABLE', '10000') | int) %}
{% endmacro %}
