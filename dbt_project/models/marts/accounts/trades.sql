{#
    Positions and what history says of them, one row for each position. A position may be closed in parts, each a row
    of the history, and parts of one that is still open do not close it.
#}
with

positions as (
    select * from {{ ref('stg_accounts__positions') }}
),

history as (
    select * from {{ ref('stg_accounts__history') }}
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
-- the newest part, with the sums of all of them
closings as (
    select distinct on (history.account_id, history.ticket)
        history.account_id,
        history.ticket,
        history.symbol,
        history.type,
        history.open_price,
        history.open_time,
        history.stop_loss,
        history.take_profit,
        history.comment,
        max(history.close_time) over parts as close_time,
        sum(history.volume) over parts as volume,
        sum(history.volume) filter (where history.landed_at > positions.extracted_at) over parts as volume_since_listed,
        case
            when count(*) over parts = 1 then history.close_price
            else {{ quotient(
                'sum(history.close_price * history.volume) over parts',
                'nullif(sum(history.volume) filter (where history.close_price is not null) over parts, 0)',
            ) }}
        end as close_price,
        sum(history.profit) over parts as profit,
        sum(history.swap) over parts as swap,
        sum(history.commission) over parts as commission,
        max(history.extracted_at) over parts as extracted_at
    from changed
    inner join history on changed.account_id = history.account_id and changed.ticket = history.ticket
    left join positions on changed.account_id = positions.account_id and changed.ticket = positions.ticket
    window parts as (partition by history.account_id, history.ticket)
    order by
        history.account_id asc,
        history.ticket asc,
        history.close_time desc nulls last,
        history.history_ticket desc
),

judged as (
    select
        changed.account_id,
        changed.ticket,
        case
            when positions.ticket is null then 'closed'
            -- a list may be older than the history: then what has been closed since it came is what counts
            when positions.is_listed and coalesce(closings.volume_since_listed < positions.volume, true) then 'open'
            when positions.is_listed then 'closed'
            -- a part that was closed earlier is not the whole
            when closings.ticket is null or closings.volume < positions.volume then 'closing'
            else 'closed'
        end as status
    from changed
    left join positions on changed.account_id = positions.account_id and changed.ticket = positions.ticket
    left join closings on changed.account_id = closings.account_id and changed.ticket = closings.ticket
),

final as (
    select
        judged.account_id,
        judged.ticket,
        coalesce(closed.symbol, positions.symbol) as symbol,
        coalesce(positions.type, closed.type) as type,
        coalesce(closed.volume, positions.volume) as volume,
        coalesce(closed.open_price, positions.open_price) as open_price,
        coalesce(closed.open_time, positions.open_time) as open_time,
        coalesce(closed.stop_loss, positions.stop_loss) as stop_loss,
        coalesce(closed.take_profit, positions.take_profit) as take_profit,
        case when judged.status <> 'closed' then positions.current_price end as current_price,
        closed.close_price,
        closed.close_time,
        case when judged.status = 'closed' then closed.profit else positions.profit end as profit,
        case when judged.status = 'closed' then closed.swap else positions.swap end as swap,
        case when judged.status = 'closed' then closed.commission else positions.commission end as commission,
        coalesce(closed.comment, positions.comment) as comment,
        judged.status,
        greatest(positions.extracted_at, closings.extracted_at) as synced_at
    from judged
    left join positions on judged.account_id = positions.account_id and judged.ticket = positions.ticket
    left join closings on judged.account_id = closings.account_id and judged.ticket = closings.ticket
    left join closings as closed
        on judged.account_id = closed.account_id and judged.ticket = closed.ticket and judged.status = 'closed'
)

select * from final
