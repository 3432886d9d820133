{#
    Stop with a compiler error if a list of dbt_project.yml has an invalid entry. extract/lists.py checks the same and
    more for everything that does not go through dbt.
#}
{% macro require_lists() %}
    {% for symbol in var('symbols') %}
        {% if symbol is not string or not (symbol.isascii() and symbol.isalnum() and symbol.islower()) or symbol[0].isdigit() %}
            {% do exceptions.raise_compiler_error(
                "symbols has '" ~ symbol ~ "'; expected lower-case letters and digits, such as 'eurusd'"
            ) %}
        {% elif symbol in var('symbols')[:loop.index0] %}
            {% do exceptions.raise_compiler_error("symbols has '" ~ symbol ~ "' twice") %}
        {% endif %}
    {% endfor %}
    {% for name, minutes in var('timeframes').items() %}
        {% if minutes is not integer or minutes < 1 or 1440 % minutes != 0 %}
            {% do exceptions.raise_compiler_error(
                "timeframes has " ~ name ~ ": " ~ minutes ~ "; expected minutes that divide a day (1440)"
            ) %}
        {% endif %}
        {% set called = 'D1' if minutes == 1440 else 'M' ~ minutes if minutes % 60 else 'H' ~ minutes // 60 %}
        {% if name != called %}
            {% do exceptions.raise_compiler_error(
                "timeframes has " ~ name ~ ": " ~ minutes ~ "; " ~ minutes ~ " minutes are called " ~ called
            ) %}
        {% endif %}
    {% endfor %}
    {% for column in var('candle_columns') %}
        {% if column.kind not in ['price', 'number', 'json'] %}
            {% do exceptions.raise_compiler_error(
                "candle_columns has " ~ column.name ~ " of kind '" ~ column.kind ~ "'; expected price, number or json"
            ) %}
        {% elif column.name in (var('candle_columns') | map(attribute='name') | list)[:loop.index0] %}
            {% do exceptions.raise_compiler_error("candle_columns has '" ~ column.name ~ "' twice") %}
        {% endif %}
    {% endfor %}
{% endmacro %}
