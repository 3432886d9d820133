{# The moment by which health is judged. A macro of its own, so that a unit test can set it. #}
{% macro sync_clock() %}now(){% endmacro %}
