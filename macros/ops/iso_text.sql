{# A moment as ISO 8601 text in UTC for programs, whatever the session's time zone. #}
{% macro iso_text(moment) %}to_char({{ moment }} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'){% endmacro %}
