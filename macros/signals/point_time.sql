{#
    When a point was, in Unix seconds: its time, else the bar that its index names. That bar is known if it is the row's
    own, or if the table of those bars has all of them from there to the row's: no weekend and no gap lies between.

    `times` has to be a variable with the opens of those bars in ascending order, if `counts_bars()`.
#}
{% macro point_time(point, bar) -%}
    {%- if counts_bars() -%}
    {%- set back = point ~ '.bars_back' -%}
    {%- set minutes = var('collector_dialect').bar_minutes -%}
    coalesce(
        {{ point }}.time,
        case
            when
                {{ back }} = 0
                or times[width_bucket({{ bar }}, times) - {{ back }}] = {{ bar }} - {{ back }} * interval '{{ minutes }} minutes'
                then extract(epoch from {{ bar }})::bigint - {{ back }} * {{ minutes * 60 }}
        end
    )
    {%- else -%}
    {{ point }}.time
    {%- endif -%}
{%- endmacro %}
