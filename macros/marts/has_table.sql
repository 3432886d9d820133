{# Whether the model's table already exists. A unit test has no table. #}
{% macro has_table() %}
    {% if not execute or this is none or is_incremental() %}
        {% do return(execute and is_incremental()) %}
    {% endif %}
    {% set relation = load_cached_relation(this) %}
    {% do return(relation is not none and relation.is_table and should_full_refresh()) %}
{% endmacro %}
