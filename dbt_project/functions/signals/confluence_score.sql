{# Rounded twice: thirds of a strength add up to 0.999… where they are 1, and a half would be rounded down. #}
{% set timeframes = var('timeframes') | length %}
select round(round((abs(bullish - bearish) + strengths) * 5 / {{ timeframes }}, 12), 1)
