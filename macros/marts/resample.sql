{# Candles of longer periods from those of a shorter one that divides it, or from bars: one row per symbol and period. #}
{% macro resample(relation, minutes) -%}
    select
        symbol,
        period_start - period_start % {{ minutes * 60 }} as period_start,
        (array_agg(open order by period_start))[1] as open,
        max(high) as high,
        min(low) as low,
        (array_agg(close order by period_start desc))[1] as close,
        sum(bars) as bars,
        max(extracted_at) as extracted_at
    from {{ relation }}
    group by symbol, period_start - period_start % {{ minutes * 60 }}
{%- endmacro %}
