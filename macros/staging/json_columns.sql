{# The columns of an MT5 bar that hold JSON. #}
{% macro json_columns() %}
    {% do return([
        'fractals', 'horizontal_trendlines', 'diagonal_trendlines', 'momentum_candles', 'keltner_channels', 'zigzag'
    ]) %}
{% endmacro %}
