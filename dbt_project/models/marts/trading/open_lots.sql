with

fills as (
    select * from {{ ref('int_bybit__fills') }}
),

closed as (
    select
        category,
        symbol,
        bot_id,
        max(closed_from + closed) as closed_to
    from fills
    where closed > 0
    group by category, symbol, bot_id
),

lots as (
    select
        fills.*,
        greatest(fills.opened_from, coalesce(closed.closed_to, 0)) as open_from,
        fills.opened_from + fills.opened as open_to
    from fills
    left join closed
        on fills.category = closed.category and fills.symbol = closed.symbol and fills.opened_by = closed.bot_id
    where fills.opened > 0 and fills.opened_from + fills.opened > coalesce(closed.closed_to, 0)
),

final as (
    select
        opened_by as bot_id,
        category,
        symbol,
        exec_id,
        order_id,
        client_order_id,
        side,
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
        extracted_at as synced_at
    from lots
)

select * from final
