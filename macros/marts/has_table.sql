{# Whether the model's table already exists. A unit test has no table. #}
{% macro has_table() %}
    {% set increment = execute and is_incremental() %}
    {% if increment or not execute or this is none %}
        {% do return(increment) %}
    {% endif %}
    {% set relation = load_cached_relation(this) %}
    {% do return(relation is not none and relation.is_table and should_full_refresh()) %}
{% endmacro %}
