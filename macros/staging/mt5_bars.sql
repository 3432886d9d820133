{#
    The staging view of one symbol: the landed bars with the collector's habits resolved.
    Every landed row is kept; `is_usable` tells whether its prices make a candle.
#}
{% macro mt5_bars(landed) %}
select
    timestamp,
    timestamp / 60 as epoch_minute,
    open,
    high,
    low,
    close,
    {{ _repaired_json('fractals') }} as fractals,
    {{ _repaired_json('horizontal_trendlines') }} as horizontal_trendlines,
    {{ _repaired_json('diagonal_trendlines') }} as diagonal_trendlines,
    {{ _repaired_json('momentum_candles') }} as momentum_candles,
    {{ _repaired_json('keltner_channels') }} as keltner_channels,
    case when {{ is_number('tema') }} then tema end as tema,
    case when {{ is_number('hrma') }} then hrma end as hrma,
    case when {{ is_number('smma') }} then smma end as smma,
    {{ _repaired_json('zigzag') }} as zigzag,
    coalesce(
        {{ is_number('open') }} and {{ is_number('high') }} and {{ is_number('low') }} and {{ is_number('close') }},
        false
    ) as is_usable,
    extracted_at
from {{ landed }}
{% endmacro %}

{# Text as jsonb: as it is, else with the collector's dropped bracket (`":]` for `":[]`) put back, else NULL. #}
{% macro _repaired_json(column) -%}
    coalesce(staging.try_jsonb({{ column }}), staging.try_jsonb(replace({{ column }}, '":]', '":[]')))
{%- endmacro %}
