{#
    The staging view of one symbol: the landed bars with the collector's defects repaired, by the kind of each column.
    Every landed row is kept. `is_usable` says whether its prices make a candle, `is_history` whether it is from a time
    whose bars staging has pruned.
#}
{% macro mt5_bars(landed, symbol) %}
select
    timestamp,
    timestamp / 60 as epoch_minute,
    {% for column in var('candle_columns') %}
    {% if column.kind == 'json' %}
    {{ repaired_json(column.name) }} as {{ column.name }},
    {% elif column.kind == 'number' %}
    case when {{ is_number(column.name) }}{{ ' and ' ~ column.name ~ ' <> 0' if column.zero_is_empty }} then {{ column.name }} end as {{ column.name }},
    {% else %}
    {{ column.name }},
    {% endif %}
    {% endfor %}
    coalesce(
        {% for price in price_columns() %}
        {{ is_number(price) }}{{ ' and' if not loop.last }}
        {% endfor %},
        false
    ) as is_usable,
    timestamp <= coalesce(
        (
            select max(timestamp)
            from {{ source('ops', 'pruned_bars') }}
            where symbol = '{{ symbol }}'
        ),
        -1
    ) as is_history,
    extracted_at
from {{ landed }}
{% endmacro %}
