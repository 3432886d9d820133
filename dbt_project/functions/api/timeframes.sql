select
    json_build_object(
        'success', true,
        'tier', tiers.tier,
        'timeframes', visible.answer,
        'total_count', json_array_length(visible.answer)
    )
from {{ all_rows_of(ref('tiers')) }} as tiers
cross join lateral (
    select coalesce(json_agg(listed.name order by listed.place), '[]') as answer
    from (values
        {% for name in var('timeframes') %}
        ('{{ name }}', {{ loop.index }}){{ ',' if not loop.last }}
        {% endfor %}
    ) as listed (name, place)
    where tiers.timeframes = '*' or listed.name = any(string_to_array(tiers.timeframes, ' '))
) as visible
where tiers.tier = $1
