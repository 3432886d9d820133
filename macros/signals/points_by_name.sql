{#
    A column of lists of points, {name: [point, …]}, as the API shows it: each point has its time and price, the oldest
    comes first. NULL where the column is no such object.
#}
{% macro points_by_name(column, bar) -%}
    (
        select json_object_agg(
            list.name,
            (
                select coalesce(
                    json_agg(
                        json_build_object('time', {{ point_time('point', bar) }}, 'price', point.price)
                        order by point.place desc
                    ),
                    '[]'
                )
                from {{ function('points') }}(list.points) as point
            )
        )
        from jsonb_each(case jsonb_typeof({{ column }}) when 'object' then {{ column }} end) as list (name, points)
    )
{%- endmacro %}
