{# How late something may be, an interval: what the session has set as `tradehouse.grace`, else the project's. #}
{% macro grace() -%}
coalesce(nullif(current_setting('tradehouse.grace', true), ''), '{{ var("grace_minutes") }} minutes')::interval
{%- endmacro %}
