{# The columns of a candle table, in the order of its contract. #}
{% macro candle_columns() %}
    {% do return([
        'timestamp', 'open', 'high', 'low', 'close', 'fractals', 'horizontal_trendlines', 'diagonal_trendlines',
        'momentum_candles', 'keltner_channels', 'tema', 'hrma', 'smma', 'zigzag', 'synced_at'
    ]) %}
{% endmacro %}
