{% do require_lists() %}
{% for symbol in var('symbols') %}
{% set last_symbol = loop.last %}
{% for timeframe in var('timeframes') %}
select
    '{{ symbol }}' as symbol,
    '{{ timeframe }}' as timeframe,
    {{ candle_columns() | join(',\n    ') }}
from {{ ref(symbol ~ '_' ~ timeframe | lower) }}
{{ 'union all' if not (last_symbol and loop.last) }}
{% endfor %}
{% endfor %}
