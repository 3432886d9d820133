{# The columns of an MT5 bar that hold JSON. #}
{% macro json_columns() %}
    {% do return(var('candle_columns') | selectattr('kind', 'equalto', 'json') | map(attribute='name') | list) %}
{% endmacro %}
