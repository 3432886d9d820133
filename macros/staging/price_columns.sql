{# The columns of an MT5 bar without which it is a reject. #}
{% macro price_columns() %}
    {% do return(var('candle_columns') | selectattr('kind', 'equalto', 'price') | map(attribute='name') | list) %}
{% endmacro %}
