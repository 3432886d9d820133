with

fills as (
    select * from {{ ref('int_bybit__fills') }}
),

closed as (
    select
        account_uid,
        category,
        symbol,
        bot_id,
        side,
        max(closed_from + closed) as closed_to
    from fills
    where closed > 0
    group by account_uid, category, symbol, bot_id, side
),

lots as (
    select
        fills.*,
        greatest(fills.opened_from, coalesce(closed.closed_to, 0)) as open_from,
        fills.opened_from + fills.opened as open_to
    from fills
    left join closed
        on fills.account_uid = closed.account_uid
            and fills.category = closed.category
            and fills.symbol = closed.symbol
            and fills.opened_by = closed.bot_id
            and fills.side <> closed.side
    where fills.opened > 0 and fills.opened_from + fills.opened > coalesce(closed.closed_to, 0)
),

priced as (
    select
        lots.*,
        newest.price as last_price
    from lots
    left join lateral (
        select fills.price
        from fills
        where fills.account_uid = lots.account_uid
            and fills.category = lots.category
            and fills.symbol = lots.symbol
            and not fills.is_void
            and fills.kind = 'fill'
        order by fills.exec_time desc, fills.seq desc, fills.exec_id collate "C" desc
        limit 1
    ) as newest on true
),

final as (
    select
        opened_by as bot_id,
        account_uid,
        category,
        symbol,
        exec_id,
        order_id,
        client_order_id,
        side,
        case side when 'Buy' then 'long' else 'short' end as position_side,
        position_mode,
        price,
        exec_time as entry_time,
        reason as entry_reason,
        case when opened_by = bot_id then attributed_by else 'no_position' end as attributed_by,
        trim_scale(opened) as opened_qty,
        trim_scale(open_to - open_from) as open_qty,
        trim_scale({{ fee_share(
            'commission',
            'quantity',
            'closed + unmatched + open_from - opened_from',
            'closed + unmatched + open_to - opened_from',
        ) }}) as commission,
        last_price,
        trim_scale(
            (open_to - open_from) * case side when 'Buy' then 1 else -1 end * case
                when kind = 'moved' then null
                when category <> 'inverse' then last_price - price
                when price > 0 and last_price > 0 then {{ quotient('last_price - price', 'price * last_price') }}
            end
        ) as unrealised_pnl,
        extracted_at as synced_at
    from priced
)

select * from final
