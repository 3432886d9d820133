{# The timeframe whose bars the collector's indexes count. #}
{% macro counted_timeframe() %}
    {% set minutes = var('collector_dialect').bar_minutes %}
    {% for timeframe, length in var('timeframes').items() if length == minutes %}
        {% do return(timeframe) %}
    {% endfor %}
    {% do exceptions.raise_compiler_error(
        "collector_dialect has bar_minutes: " ~ minutes ~ "; timeframes have " ~ var('timeframes').values() | join(', ')
    ) %}
{% endmacro %}
