{#
    Positions and what the history says of them, one row for each position. It is closed only when the history covers the
    volume it ever had. `required` is that volume: by the history where that begins with the opening, and by the lists.

    An account's list of positions may be older than its history, where one of the two fails. Then what came since then and
    covers the position closes it, although the list has it.
#}
with

positions as (
    select * from {{ ref('stg_accounts__positions') }}
),

history as (
    select * from {{ ref('stg_accounts__history') }}
    where kind in ('trade', 'deal')
),

register as (
    select * from {{ source('register', 'registered_accounts') }}
),

marks as (
    select * from {{ source('accounts', 'mt5_account_marks') }}
),

{% if is_incremental() %}
since as (
    select coalesce(max(synced_at), '-infinity') as synced_at from {{ this }}
),

changed as (
    select
        positions.account_id,
        positions.ticket
    from positions
    where positions.extracted_at > (select since.synced_at from since)
    union
    select
        history.account_id,
        history.ticket
    from history
    where history.extracted_at > (select since.synced_at from since)
    union
    -- an account that was deactivated, or polled again
    select
        known.account_id,
        known.ticket
    from {{ this }} as known
    left join register on known.account_id = register.id
    where known.status <> 'closed' and (known.status = 'unknown') = coalesce(register.is_active, false)
),

{% else %}
changed as (
    select
        account_id,
        ticket
    from positions
    union
    select
        account_id,
        ticket
    from history
),

{% endif %}
-- looked up one by one: an increment is about few of them
closings as (
    select closings.*
    from changed
    cross join lateral (
        select *
        from {{ all_rows_of(ref('stg_accounts__closings')) }} as closings
        where closings.account_id = changed.account_id and closings.ticket = changed.ticket
        offset 0
    ) as closings
),

measured as (
    select
        changed.account_id,
        changed.ticket,
        positions.ticket is not null as was_listed,
        coalesce(positions.is_listed, false) as is_listed,
        coalesce(case when positions.is_listed then positions.volume end, 0) as listed,
        coalesce(closings.volume, 0) as closed,
        closings.opened_in_history > 0 as is_opened_in_history,
        case when closings.kind = 'deal' then closings.opened_in_history end as opened_in_history,
        -- doubles of the API's program may have been added up
        round(greatest(positions.opened_volume, closings.opened_in_history, 0), 8) as required,
        closings.landed_at > coalesce(marks.listed_at, '-infinity') as is_newer_than_list,
        closings.landed_at >= coalesce(marks.listed_at, '-infinity') as is_no_older_than_list,
        coalesce(register.is_active, false) as is_active
    from changed
    left join positions on changed.account_id = positions.account_id and changed.ticket = positions.ticket
    left join closings on changed.account_id = closings.account_id and changed.ticket = closings.ticket
    left join marks on changed.account_id = marks.account_id
    left join register on changed.account_id = register.id
),

found as (
    select
        *,
        case
            when is_listed and not (closed > 0 and round(closed, 8) >= required and is_newer_than_list) then 'open'
            when closed > 0 and round(closed, 8) >= required then 'closed'
            -- what never was listed may be too new for the list
            when not was_listed and is_opened_in_history and is_no_older_than_list then 'open'
            when not was_listed and not is_opened_in_history then 'closed'
            else 'closing'
        end as state
    from measured
),

judged as (
    select
        *,
        case when state = 'closed' or is_active then state else 'unknown' end as status,
        case
            when state = 'closed' or (state = 'open' and not is_listed) then 0
            else greatest(required - closed - listed, 0)
        end as missing_volume,
        greatest(required - opened_in_history, 0) as missing_opening
    from found
),

final as (
    select
        judged.account_id,
        judged.ticket,
        coalesce(closed.symbol, positions.symbol, closings.symbol) as symbol,
        coalesce(positions.type, closings.type) as type,
        coalesce(closed.volume, positions.volume, judged.required - judged.closed) as volume,
        coalesce(closed.open_price, positions.open_price, closings.open_price) as open_price,
        coalesce(closed.open_time, positions.open_time, closings.open_time) as open_time,
        coalesce(closed.stop_loss, positions.stop_loss) as stop_loss,
        coalesce(closed.take_profit, positions.take_profit) as take_profit,
        case when judged.status <> 'closed' then positions.current_price end as current_price,
        closed.close_price,
        closed.close_time,
        case when judged.status = 'closed' then closed.profit else positions.profit end as profit,
        case when judged.status = 'closed' then closed.swap else positions.swap end as swap,
        case when judged.status = 'closed' then closed.commission else positions.commission end as commission,
        coalesce(closed.comment, positions.comment, closings.comment) as comment,
        judged.status,
        greatest(positions.extracted_at, closings.extracted_at) as synced_at,
        closed.fee,
        coalesce(closings.profit, 0) + coalesce(closings.swap, 0) + coalesce(closings.commission, 0)
        + coalesce(closings.fee, 0) as realised_profit,
        judged.missing_volume,
        judged.missing_opening
    from judged
    left join positions on judged.account_id = positions.account_id and judged.ticket = positions.ticket
    left join closings on judged.account_id = closings.account_id and judged.ticket = closings.ticket
    left join closings as closed
        on judged.account_id = closed.account_id and judged.ticket = closed.ticket and judged.status = 'closed'
)

select * from final
