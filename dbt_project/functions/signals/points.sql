{#
    The one place that knows how collectors write points. A point is an object, or an array of two numbers: its time, or
    else its index, and its price. A number below 100,000,000 is an index, for as Unix seconds it would be before 1973.
#}
{% set dialect = var('collector_dialect') %}
select
    read.time,
    case
        {% if dialect.index == 'from_newest' %}
        when read.index between 0 and 9999 then read.index::integer
        {% elif dialect.index_bars %}
        when read.index between 0 and {{ dialect.index_bars - 1 }} then {{ dialect.index_bars - 1 }} - read.index::integer
        {% else %}
        when false then 0
        {% endif %}
    end as bars_back,
    {{ number_of('raw.price') }} as price,
    case
        {% for type, words in var('momentum_types').items() %}
        when {{ number_of('raw.type') }} = {{ type }} or read.word in ('{{ words | join("', '") }}') then {{ type }}
        {% endfor %}
    end as type,
    {{ number_of('raw.zscore') }} as zscore,
    row_number() over (
        order by
            read.time desc nulls last,
            read.index {{ 'asc' if dialect.index == 'from_newest' else 'desc' }} nulls last,
            element.place {{ 'asc' if dialect.list == 'newest_first' else 'desc' }}
    )::integer as place
from jsonb_array_elements(
    case jsonb_typeof(list) when 'array' then list end
) with ordinality as element (point, place)
cross join lateral (
    select
        case jsonb_typeof(element.point) when 'array' then element.point -> 0 else element.point -> 'time' end as time,
        case jsonb_typeof(element.point) when 'array' then element.point -> 0 else element.point -> 'index' end as index,
        case jsonb_typeof(element.point) when 'array' then element.point -> 1 else element.point -> 'price' end as price,
        element.point -> 'type' as type,
        element.point -> 'zscore' as zscore
) as raw
cross join lateral (
    select
        floor(case when raw.time between '100000000' and '4102444800' then {{ number_of('raw.time') }} end)::bigint as time,
        case when raw.index between '-99999999' and '99999999' then {{ number_of('raw.index') }} end as index,
        translate(lower(raw.type #>> '{}'), ' -', '__') as word
) as read
