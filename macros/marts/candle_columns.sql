{# The columns of a candle table, in the order of its contract. #}
{% macro candle_columns() %}
    {% do return(['timestamp'] + var('candle_columns') | map(attribute='name') | list + ['synced_at']) %}
{% endmacro %}
