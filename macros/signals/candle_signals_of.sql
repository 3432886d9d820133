{# The signals of a candle, as an item of FROM, called candle_signals. #}
{% macro candle_signals_of(candle) -%}
    {{ function('candle_signals') }}(
        {{ candle }}.close, {{ candle }}.tema, {{ candle }}.hrma, {{ candle }}.smma,
        {{ candle }}.momentum_candles, {{ candle }}.keltner_channels, {{ candle }}.zigzag
    ) as candle_signals
{%- endmacro %}
