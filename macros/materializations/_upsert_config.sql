{# A config of an upsert. They lie under `meta`, where dbt keeps keys that are not its own. #}
{% macro _upsert_config(name, default=none) %}
    {% do return(config.get('meta', default={}).get(name, default)) %}
{% endmacro %}
