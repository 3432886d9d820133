{#
    The staging view of one symbol: the landed bars with the collector's habits resolved.
    Every landed row is kept; `is_usable` tells whether its prices make a candle, `is_history` whether it is of a time
    of which staging has let bars go.
#}
{% macro mt5_bars(landed, symbol) %}
select
    timestamp,
    timestamp / 60 as epoch_minute,
    open,
    high,
    low,
    close,
    {{ repaired_json('fractals') }} as fractals,
    {{ repaired_json('horizontal_trendlines') }} as horizontal_trendlines,
    {{ repaired_json('diagonal_trendlines') }} as diagonal_trendlines,
    {{ repaired_json('momentum_candles') }} as momentum_candles,
    {{ repaired_json('keltner_channels') }} as keltner_channels,
    case when {{ is_number('tema') }} then tema end as tema,
    case when {{ is_number('hrma') }} then hrma end as hrma,
    case when {{ is_number('smma') }} then smma end as smma,
    {{ repaired_json('zigzag') }} as zigzag,
    coalesce(
        {{ is_number('open') }} and {{ is_number('high') }} and {{ is_number('low') }} and {{ is_number('close') }},
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
