{# The day of a moment in India, where a trading day begins and ends. #}
{% macro india_day(moment) %}({{ moment }} at time zone 'Asia/Kolkata')::date{% endmacro %}
