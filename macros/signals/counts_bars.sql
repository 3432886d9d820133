{# Whether the collector's dialect says which bar an index is. #}
{% macro counts_bars() %}
    {% set dialect = var('collector_dialect') %}
    {% do return(dialect.index == 'from_newest' or dialect.index_bars is not none) %}
{% endmacro %}
