{#
    A position lasts from flat to flat. What a holder had on one side before a fill tells where one begins; its trades are
    those whose orders both have a fill in it.
#}
with

fills as (
    select * from {{ ref('int_bybit__fills') }}
    where not is_void
),

changes as (
    select
        account_uid,
        category,
        symbol,
        opened_by as bot_id,
        case side when 'Buy' then 'long' else 'short' end as position_side,
        exec_time,
        seq,
        exec_id,
        order_id,
        true as opens,
        opened as delta
    from fills
    where opened > 0
    union all
    select
        account_uid,
        category,
        symbol,
        bot_id,
        case side when 'Sell' then 'long' else 'short' end as position_side,
        exec_time,
        seq,
        exec_id,
        order_id,
        false as opens,
        -closed as delta
    from fills
    where closed > 0
),

held as (
    select
        *,
        sum(delta) over in_turn as held_after
    from changes
    window
        in_turn as (
            partition by account_uid, category, symbol, bot_id, position_side
            order by exec_time, seq, exec_id collate "C"
        )
),

numbered as (
    select
        *,
        count(*) filter (where held_after = delta) over (
            partition by account_uid, category, symbol, bot_id, position_side
            order by exec_time, seq, exec_id collate "C"
        ) as position_number
    from held
),

positions as (
    select
        account_uid,
        category,
        symbol,
        bot_id,
        position_side,
        position_number,
        min(exec_time) as opened_at,
        max(exec_time) as closed_at,
        count(distinct order_id) filter (where opens) as entry_orders,
        count(distinct order_id) filter (where not opens) as exit_orders,
        sum(delta) filter (where opens) as quantity,
        max(held_after) as largest_quantity,
        array_agg(distinct order_id) filter (where opens) as opened_by_orders
    from numbered
    group by account_uid, category, symbol, bot_id, position_side, position_number
    having sum(delta) = 0
),

exits as (
    select distinct
        account_uid,
        category,
        symbol,
        bot_id,
        position_side,
        position_number,
        order_id
    from numbered
    where not opens
),

trades as (
    select
        trades.*,
        exits.position_number,
        -- orders that trade in several positions have their trade in the first
        row_number() over (partition by trades.trade_id order by exits.position_number) as choice
    from (select * from {{ ref('completed_trades') }}) as trades
    inner join exits
        on trades.account_uid = exits.account_uid
            and trades.category = exits.category
            and trades.symbol = exits.symbol
            and trades.bot_id = exits.bot_id
            and trades.position_side = exits.position_side
            and trades.exit_order_id = exits.order_id
    inner join positions
        on exits.account_uid = positions.account_uid
            and exits.category = positions.category
            and exits.symbol = positions.symbol
            and exits.bot_id = positions.bot_id
            and exits.position_side = positions.position_side
            and exits.position_number = positions.position_number
            and trades.entry_order_id = any(positions.opened_by_orders)
),

results as (
    select
        account_uid,
        category,
        symbol,
        bot_id,
        position_side,
        position_number,
        sum(entry_price * entry_qty) as entry_value,
        sum(exit_price * exit_qty) as exit_value,
        sum(entry_qty) as matched_qty,
        sum(gross_pnl) as gross_pnl,
        sum(total_commission) as total_commission,
        sum(net_pnl) as net_pnl,
        max(kind) as kind
    from trades
    where choice = 1
    group by account_uid, category, symbol, bot_id, position_side, position_number
),

final as (
    select
        positions.bot_id,
        positions.account_uid,
        positions.category,
        positions.symbol,
        {{ trade_market('positions') }} as market,
        positions.position_side,
        positions.position_number,
        positions.opened_at,
        positions.closed_at,
        positions.entry_orders,
        positions.exit_orders,
        trim_scale(positions.quantity) as quantity,
        trim_scale(positions.largest_quantity) as largest_quantity,
        {{ quotient('results.entry_value', 'results.matched_qty') }} as entry_price,
        {{ quotient('results.exit_value', 'results.matched_qty') }} as exit_price,
        results.gross_pnl,
        results.total_commission,
        results.net_pnl,
        results.kind,
        trim_scale(extract(epoch from positions.closed_at - positions.opened_at)) as holding_duration_seconds
    from positions
    inner join results
        using (account_uid, category, symbol, bot_id, position_side, position_number)
)

select * from final
