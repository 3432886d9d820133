{#
    First in, first out, without a loop. All quantities that a holder opened lie end to end on one scale, and so do all
    that it closed. Every start and end of an entry or exit cuts the scale. Each piece between two cuts belongs to one
    entry and one exit, found by counting the starts so far. That takes one sort; a join of overlapping ranges is
    quadratic.
#}
{% macro fifo_matching(entries, exits, holder) %}
    {% if holder is string or not holder %}
        {% do exceptions.raise_compiler_error(
            "fifo_matching(): holder is '" ~ holder ~ "'; it has to be a list of columns"
        ) %}
    {% endif %}
    {% set holder_columns = holder | join(', ') %}
    with

    -- `exits_open` counts from the start of a holder's first exit to the end of its last
    cuts as (
        select
            {{ holder_columns }},
            starts_at as place,
            1 as entries_started,
            0 as exits_started,
            0 as exits_open
        from {{ entries }}
        union all
        select
            {{ holder_columns }},
            starts_at,
            0,
            1,
            1
        from {{ exits }}
        union all
        select
            {{ holder_columns }},
            max(ends_at),
            0,
            0,
            -count(*)::integer
        from {{ exits }}
        group by {{ holder_columns }}
    ),

    -- of several cuts at one place, only the last starts a piece longer than zero
    spans as (
        select
            place as starts_at,
            lead(place) over of_holder as ends_at,
            sum(entries_started) over so_far as entry_number,
            sum(exits_started) over so_far as exit_number,
            sum(exits_open) over of_holder as exits_open
        from cuts
        window
            so_far as (order by {{ holder_columns }}, place),
            of_holder as (partition by {{ holder_columns }} order by place)
    )

    -- entries beyond the holder's last exit, or without any exit, are still open
    select
        entry_number,
        exit_number,
        starts_at,
        ends_at
    from spans
    where exits_open > 0 and ends_at > starts_at
{% endmacro %}
