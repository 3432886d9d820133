with

surplus as (
    select
        account_uid,
        exec_id,
        category,
        symbol,
        exec_time,
        exec_type,
        bot_id,
        attributed_by,
        order_id,
        client_order_id,
        side,
        case side when 'Sell' then 'long' else 'short' end as position_side,
        position_mode,
        price,
        reason,
        trim_scale(quantity) as quantity,
        trim_scale(unmatched) as unmatched_qty,
        trim_scale({{ fee_share('commission', 'quantity', 'closed', 'closed + unmatched') }}) as commission,
        'closes more than is known to be open' as explanation,
        extracted_at as synced_at
    from {{ ref('int_bybit__fills') }}
    where unmatched > 0
),

no_fills as (
    select
        account_uid,
        exec_id,
        category,
        symbol,
        exec_time,
        exec_type,
        'unassigned' as bot_id,
        'not_a_fill' as attributed_by,
        order_id,
        client_order_id,
        side,
        null as position_side,
        null as position_mode,
        price,
        reason,
        quantity,
        quantity as unmatched_qty,
        commission,
        'execType ' || coalesce(exec_type, 'missing') || ' is not matched' as explanation,
        extracted_at as synced_at
    from {{ ref('stg_bybit__executions') }}
    where kind = 'other'
),

final as (
    select * from surplus
    union all
    select * from no_fills
)

select * from final
