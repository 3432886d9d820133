{#
    The one place that knows how collectors write points. A point is an object, or an array of two numbers: its time, or
    else its index, and its price. A number below 100,000,000 is an index, for as Unix seconds it would be before 1973.
#}
{% set dialect = var('collector_dialect') %}
{% set types = {} %}
{% for type, words in var('momentum_types').items() %}
{% for word in words %}
{% do types.update({word: type}) %}
{% endfor %}
{% endfor %}
select
    read.time,
    case
        {% if dialect.index == 'from_newest' %}
        when read.index between 0 and 9999 and read.index = trunc(read.index) then read.index::integer
        {% elif dialect.index_bars %}
        when read.index between 0 and {{ dialect.index_bars - 1 }} and read.index = trunc(read.index)
        then {{ dialect.index_bars - 1 }} - read.index::integer
        {% else %}
        when false then 0
        {% endif %}
    end as bars_back,
    {{ number_of('raw.price') }} as price,
    case coalesce(
        {{ number_of('raw.type') }},
        ('{{ tojson(types) }}'::jsonb -> (raw.type #>> '{}'))::numeric,
        ('{{ tojson(types) }}'::jsonb -> translate(lower(raw.type #>> '{}'), ' -', '__'))::numeric
    )
        {% for type in var('momentum_types') %}
        when {{ type }} then {{ type }}
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
{# an object has no element 0, an array has no key #}
cross join lateral (
    select
        coalesce(element.point -> 'time', element.point -> 0) as time,
        coalesce(element.point -> 'index', element.point -> 0) as index,
        coalesce(element.point -> 'price', element.point -> 1) as price,
        element.point -> 'type' as type,
        element.point -> 'zscore' as zscore
) as raw
{# `offset 0`: read once, though used several times #}
cross join lateral (
    select {{ number_of('raw.time') }} as time, {{ number_of('raw.index') }} as index
    offset 0
) as number
cross join lateral (
    select
        case when number.time between 100000000 and 4102444800 then floor(number.time)::bigint end as time,
        case when abs(number.index) < 100000000 then number.index end as index
) as read
where jsonb_typeof(element.point) in ('object', 'array')
