{#
    The market of a completed trade. Sums need one currency: linear contracts settle in dollar coins and are added up;
    an inverse contract pays in its coin and a spot pair in its quote, so each is a market of its own.
#}
{% macro trade_market() %}case when category = 'linear' then category else category || ' ' || symbol end{% endmacro %}
