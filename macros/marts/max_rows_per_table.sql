{# How many newest rows a candle table keeps: MAX_ROWS_PER_TABLE, or 10,000. #}
{% macro max_rows_per_table() %}
    {% set given = env_var('MAX_ROWS_PER_TABLE', '10000') | trim or '10000' %}
    {% if given | int < 1 %}
        {% do exceptions.raise_compiler_error(
            "MAX_ROWS_PER_TABLE is '" ~ given ~ "'; it has to be a whole number from 1 on"
        ) %}
    {% endif %}
    {% do return(given | int) %}
{% endmacro %}
