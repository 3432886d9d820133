{# A moment as ISO 8601 in UTC, whatever the session's time zone; NULL stays NULL. #}
{% macro iso_utc(moment) -%}
    (to_json({{ moment }} at time zone 'UTC') #>> '{}') || 'Z'
{%- endmacro %}
