{#
    dbt's own answer, except when a model is rendered a second time for its refresh function: then it is true, whatever
    the build is.
#}
{% macro is_incremental() %}
    {% do return(model.get('is_rendered_as_increment', false) or dbt.is_incremental()) %}
{% endmacro %}
