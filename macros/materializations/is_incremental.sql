{#
    dbt's own answer, but for a model that is rendered a second time for its refresh function: that is the increment
    whatever the build at hand is.
#}
{% macro is_incremental() %}
    {% do return(model.get('is_rendered_as_increment', false) or dbt.is_incremental()) %}
{% endmacro %}
