{#
    CTEs: where an increment of the fills has to continue. `places` are all places from the first change in each
    account, category and symbol on; a change is a new, different or removed fill. Only what has changed is read from the
    executions and typed again; what lies between is as the fills have it. `opening_book` is the book after the fill
    before the first place, and stands at the first place alone. If an execution has left its place (it became a reject, or
    moved in time or symbol), the place `is_void` and has only its own key. `placed_at` is the batch that added the
    execution or removed it.

    `typed` are the columns that a fill takes from its execution.

    `lateral … offset 0` is a lookup by index here.
#}
{% macro places_since_change(executions, fills, typed) %}
{% set place = ['account_uid', 'category', 'symbol', 'exec_time', 'seq', 'exec_id'] %}
{% set place_columns = place | join(', ') %}
changed as materialized (
    select
        {{ place_columns }},
        {{ typed | join(', ') }},
        kind in ('fill', 'moved') as is_a_fill,
        extracted_at
    from {{ executions }}
    where extracted_at > (select coalesce(max(extracted_at), '-infinity') from {{ fills }})
),

places_changed as (
    select {{ place_columns }}
    from changed
    where is_a_fill
    union all
    select so_far.*
    from changed
    cross join lateral (
        select {{ place_columns }}
        from {{ fills }} as fills
        where fills.account_uid = changed.account_uid
            and fills.exec_id = changed.exec_id
            and not fills.is_void
        offset 0
    ) as so_far
),

starts as materialized (
    select distinct on (symbol, category, account_uid) {{ place_columns }}
    from places_changed
    order by symbol, category, account_uid, exec_time, seq, exec_id collate "C"
),

openings as (
    select
        starts.*,
        previous.book as opening_book
    from starts
    left join lateral (
        select earlier.book
        from {{ fills }} as earlier
        where earlier.account_uid = starts.account_uid
            and earlier.category = starts.category
            and earlier.symbol = starts.symbol
            and earlier.exec_time <= starts.exec_time
            and {{ fill_place('earlier') }} < {{ fill_place('starts') }}
        order by earlier.exec_time desc, earlier.seq desc, earlier.exec_id collate "C" desc
        limit 1
    ) as previous on true
),

fills_from_start as (
    select later.*
    from starts
    cross join lateral (
        select *
        from {{ fills }} as fills
        where {{ from_place_on('fills', 'starts') }}
        offset 0
    ) as later
),

places_from_start as (
    select
        {{ place_columns }},
        {{ typed | join(', ') }},
        false as is_void,
        extracted_at as placed_at
    from changed
    where is_a_fill
    union all
    select
        {% for column in place %}
        so_far.{{ column }},
        {% endfor %}
        {% for column in typed %}
        case when changed.exec_id is null then so_far.{{ column }} end as {{ column }},
        {% endfor %}
        so_far.is_void or changed.exec_id is not null as is_void,
        case when so_far.is_void then so_far.extracted_at else coalesce(changed.extracted_at, so_far.extracted_at) end
            as placed_at
    from fills_from_start as so_far
    left join changed on so_far.account_uid = changed.account_uid and so_far.exec_id = changed.exec_id
    where changed.exec_id is null
        or not changed.is_a_fill
        or (so_far.category, so_far.symbol, so_far.exec_time, so_far.seq)
            is distinct from (changed.category, changed.symbol, changed.exec_time, changed.seq)
),

places as (
    select
        places_from_start.*,
        openings.opening_book
    from places_from_start
    left join openings using ({{ place_columns }})
)
{% endmacro %}
