{#
    A relation as a function has to name it. `dbt build --empty` puts a subquery without rows in place of a relation,
    and a function that kept that would answer with nothing until the next build.
#}
{% macro all_rows_of(relation) %}{{ relation.render() if relation.render is defined else relation }}{% endmacro %}
