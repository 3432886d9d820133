select
    json_build_object(
        'success', true,
        'tier', tiers.tier,
        'symbols', visible.answer,
        'total_count', json_array_length(visible.answer)
    )
from {{ all_rows_of(ref('tiers')) }} as tiers
cross join lateral (
    select coalesce(json_agg(upper(listed.name) order by listed.place), '[]') as answer
    from (values
        {% for name in var('symbols') %}
        ('{{ name }}', {{ loop.index }}){{ ',' if not loop.last }}
        {% endfor %}
    ) as listed (name, place)
    where tiers.symbols = '*' or listed.name = any(string_to_array(tiers.symbols, ' '))
) as visible
where tiers.tier = $1
