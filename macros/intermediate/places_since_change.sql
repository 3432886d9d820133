{#
    CTEs: where an increment of the fills has to continue. `places` are all places from the first change in each
    account, category and symbol on; a change is a new, different or removed fill. `opening_book` is the book after the fill
    before the first place. If an execution has left its place (it became a reject, or moved in time or symbol), the
    place `is_void` and has only its own key. `placed_at` is the batch that added the execution or removed it.

    `lateral` is a lookup by index here.
#}
{% macro places_since_change(executions, fills) %}
{% set place = 'account_uid, category, symbol, exec_time, seq, exec_id' %}
changed as materialized (
    select
        {{ place }},
        kind,
        extracted_at
    from {{ executions }}
    where extracted_at > (select coalesce(max(extracted_at), '-infinity') from {{ fills }})
),

places_changed as (
    select {{ place }}
    from changed
    where kind in ('fill', 'moved')
    union all
    select {{ place }}
    from {{ fills }}
    where not is_void and (account_uid, exec_id) in (select account_uid, exec_id from changed)
),

starts as materialized (
    select distinct on (account_uid, category, symbol) {{ place }}
    from places_changed
    order by account_uid, category, symbol, exec_time, seq, exec_id collate "C"
),

openings as materialized (
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

fills_from_start as materialized (
    select executions.*
    from (select * from {{ executions }}) as executions
    inner join openings
        on executions.account_uid = openings.account_uid
            and executions.category = openings.category
            and executions.symbol = openings.symbol
            and {{ fill_place('executions') }} >= {{ fill_place('openings') }}
    -- repeated so that Postgres uses the index
    where executions.kind in ('fill', 'moved')
        and executions.account_uid = any(array(select account_uid from starts))
        and executions.category = any(array(select category from starts))
        and executions.exec_time >= (select min(exec_time) from starts)
),

rows_from_start as (
    select
        so_far.account_uid,
        so_far.category,
        so_far.symbol,
        so_far.exec_time,
        so_far.seq,
        so_far.exec_id,
        case
            when so_far.is_void then so_far.extracted_at
            else coalesce(changed.extracted_at, so_far.extracted_at)
        end as left_at
    from openings
    cross join lateral (
        select *
        from {{ fills }} as later
        where later.account_uid = openings.account_uid
            and later.category = openings.category
            and later.symbol = openings.symbol
            and later.exec_time >= openings.exec_time
            and {{ fill_place('later') }} >= {{ fill_place('openings') }}
        offset 0
    ) as so_far
    left join changed on so_far.account_uid = changed.account_uid and so_far.exec_id = changed.exec_id
),

-- the current execution of each place; for a place without one, only its key
places as (
    select
        here.*,
        openings.opening_book
    from (
        select
            *,
            kind is null as is_void,
            coalesce(extracted_at, left_at) as placed_at
        from fills_from_start
        full join rows_from_start using ({{ place }})
    ) as here
    inner join openings
        on here.account_uid = openings.account_uid
            and here.category = openings.category
            and here.symbol = openings.symbol
)
{% endmacro %}
