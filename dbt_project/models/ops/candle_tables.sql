{#
    Bars from the future do not count: one of a terminal with a wrong clock would hide that nothing comes any more.

    The tables are named to a function, not joined: a view on 135 tables is dropped with any one of them, and would
    then say nothing of the others. `ref` is there all the same, for lineage and for the order of a build.
#}
{% for symbol in var('symbols') %}
{% set last_symbol = loop.last %}
{% for timeframe, minutes in var('timeframes').items() %}
{% set table = ref(symbol ~ '_' ~ timeframe | lower) %}
select
    '{{ symbol }}' as symbol,
    '{{ timeframe }}' as timeframe,
    {{ minutes }} as minutes,
    ops.newest_row('"{{ table.schema }}"."{{ table.identifier }}"', {{ sync_clock() }}) as newest_bar,
    (
        select to_timestamp(epoch_minute * 60)
        from {{ ref('stg_mt5__' ~ symbol) }}
        where
            is_usable
            and epoch_minute % {{ minutes }} = 0
            and timestamp <= extract(epoch from {{ sync_clock() }})::bigint
        order by timestamp desc
        limit 1
    ) as landed_bar
{{ 'union all' if not (last_symbol and loop.last) }}
{% endfor %}
{% endfor %}
