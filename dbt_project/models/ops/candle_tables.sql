{# A bar from the future, of a terminal with a wrong clock, would hide that nothing comes any more. #}
{% for symbol in var('symbols') %}
{% set last_symbol = loop.last %}
{% for timeframe, minutes in var('timeframes').items() %}
select
    '{{ symbol }}' as symbol,
    '{{ timeframe }}' as timeframe,
    {{ minutes }} as minutes,
    (
        select max(candle.timestamp)
        from {{ ref(symbol ~ '_' ~ timeframe | lower) }} as candle
        where candle.timestamp <= {{ sync_clock() }}
    ) as newest_bar,
    (
        select to_timestamp(bar.epoch_minute * 60)
        from {{ ref('stg_mt5__' ~ symbol) }} as bar
        where
            bar.is_usable
            and bar.epoch_minute % {{ minutes }} = 0
            and bar.timestamp <= extract(epoch from {{ sync_clock() }})::bigint
        order by bar.timestamp desc
        limit 1
    ) as landed_bar
{{ 'union all' if not (last_symbol and loop.last) }}
{% endfor %}
{% endfor %}
