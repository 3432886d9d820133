{# A moment as text in UTC for people, whatever the session's time zone. #}
{% macro utc_text(moment) %}to_char({{ moment }} at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'){% endmacro %}
