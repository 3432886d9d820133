{# The columns that a candle table keeps on its newest row only. #}
{% macro dynamic_columns() %}
    {% do return(var('candle_columns') | selectattr('dynamic', 'defined') | selectattr('dynamic')
        | map(attribute='name') | list) %}
{% endmacro %}
