{#
    First in, first out, without a loop. The fills of a holder lie on one scale, all it ever opened and closed: entries
    cover it end to end, and so do exits, as far as they have come. Every start and end cuts the scale, and each piece
    between two cuts belongs to one entry and one exit, found by counting the starts so far.

    An increment takes the exit orders that have a fill where something has changed (int_bybit__fills.settled_at), or had
    one there, and computes all their pairs. One of them that is no longer there comes out with `entry_qty` NULL,
    which `delete_when` turns into its deletion.

    Postgres cannot estimate how many pieces there are; by dbt_project.yml it plans without nested loops here, which are
    quadratic where it guesses too low. `lateral … offset 0` is where one is meant: a lookup by index.
#}
{% set has_table = has_table() %}
with

fills as not materialized (
    select * from {{ ref('int_bybit__fills') }}
),

{% if is_incremental() %}

starts as materialized (
    select distinct on (category, symbol)
        category,
        symbol,
        exec_time,
        seq,
        exec_id
    from fills
    where settled_at > (select coalesce(max(updated_at), '-infinity') from {{ this }})
    order by category, symbol, exec_time, seq, exec_id collate "C"
),

orders_to_compute as materialized (
    select
        starts.category,
        starts.symbol,
        later.order_id
    from starts
    cross join lateral (
        select fills.order_id
        from fills
        where fills.category = starts.category
            and fills.symbol = starts.symbol
            and fills.exec_time >= starts.exec_time
            and (fills.exec_time, fills.seq, fills.exec_id collate "C")
            >= (starts.exec_time, starts.seq, starts.exec_id collate "C")
            and fills.closed > 0
        offset 0
    ) as later
    union
    select
        starts.category,
        starts.symbol,
        later.exit_order_id
    from starts
    cross join lateral (
        select trades.exit_order_id
        from {{ this }} as trades
        where trades.category = starts.category
            and trades.symbol = starts.symbol
            and trades.exit_time >= starts.exec_time
        offset 0
    ) as later
),

scales as materialized (
    select
        orders_to_compute.category,
        orders_to_compute.symbol,
        exits_of_order.bot_id,
        min(exits_of_order.closed_from) as scale_start
    from orders_to_compute
    cross join lateral (
        select
            fills.bot_id,
            fills.closed_from
        from fills
        where fills.category = orders_to_compute.category
            and fills.symbol = orders_to_compute.symbol
            and fills.order_id = orders_to_compute.order_id
            and fills.closed > 0
        offset 0
    ) as exits_of_order
    group by orders_to_compute.category, orders_to_compute.symbol, exits_of_order.bot_id
),

opening_fills as (
    select
        scales.scale_start,
        later.*
    from scales
    cross join lateral (
        select *
        from fills
        where fills.category = scales.category
            and fills.symbol = scales.symbol
            and fills.opened_by = scales.bot_id
            and fills.opened_from >= coalesce(
                (
                    select max(earlier.opened_from)
                    from fills as earlier
                    where earlier.category = scales.category
                        and earlier.symbol = scales.symbol
                        and earlier.opened_by = scales.bot_id
                        and earlier.opened_from <= scales.scale_start
                ),
                0
            )
        offset 0
    ) as later
),

closing_fills as (
    select
        later.*,
        orders_to_compute.order_id is not null as is_to_compute
    from scales
    cross join lateral (
        select *
        from fills
        where fills.category = scales.category
            and fills.symbol = scales.symbol
            and fills.bot_id = scales.bot_id
            and fills.closed_from >= scales.scale_start
        offset 0
    ) as later
    left join orders_to_compute
        on later.category = orders_to_compute.category
            and later.symbol = orders_to_compute.symbol
            and later.order_id = orders_to_compute.order_id
),

{% else %}

opening_fills as (
    select
        0 as scale_start,
        *
    from fills
    where opened > 0
),

closing_fills as (
    select
        *,
        true as is_to_compute
    from fills
    where closed > 0
),

{% endif %}

entries as (
    select
        *,
        opened_by as holder,
        greatest(opened_from, scale_start) as scale_from,
        row_number() over (order by category, symbol, opened_by, opened_from) as entry_number
    from opening_fills
),

exits as (
    select
        *,
        bot_id as holder,
        row_number() over (order by category, symbol, bot_id, closed_from) as exit_number
    from closing_fills
),

cuts as (
    select
        category,
        symbol,
        holder,
        scale_from as place,
        1 as entries_started,
        0 as exits_started
    from entries
    union all
    select
        category,
        symbol,
        holder,
        closed_from,
        0,
        1
    from exits
    union all
    select
        category,
        symbol,
        holder,
        max(closed_from + closed),
        0,
        0
    from exits
    group by category, symbol, holder
),

-- of several cuts at one point only the last is the start of a piece that has a length
spans as (
    select
        category,
        symbol,
        holder,
        place as scale_from,
        lead(place) over (partition by category, symbol, holder order by place) as scale_to,
        sum(entries_started) over so_far as entry_number,
        sum(exits_started) over so_far as exit_number
    from cuts
    window so_far as (order by category, symbol, holder, place)
),

pieces as (
    select
        spans.category,
        spans.symbol,
        spans.holder,
        spans.scale_to - spans.scale_from as quantity,
        case entries.side when 'Buy' then 1 else -1 end as direction,
        entries.order_id as entry_order_id,
        entries.client_order_id as entry_client_order_id,
        entries.side as entry_side,
        entries.price as entry_price,
        entries.exec_time as entry_time,
        entries.reason as entry_reason,
        case when entries.opened_by = entries.bot_id then entries.attributed_by else 'no_position' end
            as entry_attributed_by,
        {{ fee_share(
            'entries.commission',
            'entries.quantity',
            'entries.closed + entries.unmatched + spans.scale_from - entries.opened_from',
            'entries.closed + entries.unmatched + spans.scale_to - entries.opened_from',
        ) }} as entry_commission,
        exits.order_id as exit_order_id,
        exits.client_order_id as exit_client_order_id,
        exits.side as exit_side,
        exits.price as exit_price,
        exits.exec_time as exit_time,
        exits.reason as exit_reason,
        exits.attributed_by as exit_attributed_by,
        {{ fee_share(
            'exits.commission',
            'exits.quantity',
            'spans.scale_from - exits.closed_from',
            'spans.scale_to - exits.closed_from',
        ) }} as exit_commission,
        greatest(entries.extracted_at, exits.extracted_at) as extracted_at,
        exits.settled_at
    from spans
    inner join entries on spans.entry_number = entries.entry_number
    inner join exits on spans.exit_number = exits.exit_number
    -- what was opened beyond the end of the holder's last exit, or has none, is still open; as an equality the first
    -- condition would be taken for the join's
    where (spans.category, spans.symbol, spans.holder) is not distinct from
        (exits.category, exits.symbol, exits.holder)
        and spans.scale_from < exits.closed_from + exits.closed
        and spans.scale_to > spans.scale_from
        and exits.is_to_compute
),

pairs as (
    select
        category,
        symbol,
        holder as bot_id,
        entry_order_id,
        min(entry_client_order_id) as entry_client_order_id,
        min(entry_side) as entry_side,
        sum(entry_price * quantity) as entry_value,
        min(entry_time) as entry_time,
        min(entry_reason) as entry_reason,
        min(entry_attributed_by) as entry_attributed_by,
        sum(entry_commission) as entry_commission,
        exit_order_id,
        min(exit_client_order_id) as exit_client_order_id,
        min(exit_side) as exit_side,
        sum(exit_price * quantity) as exit_value,
        max(exit_time) as exit_time,
        min(exit_reason) as exit_reason,
        min(exit_attributed_by) as exit_attributed_by,
        sum(exit_commission) as exit_commission,
        sum(quantity) as quantity,
        sum(
            case
                when category = 'inverse'
                    then {{ quotient('quantity * (exit_price - entry_price) * direction', 'entry_price * exit_price') }}
                else quantity * (exit_price - entry_price) * direction
            end
        ) as gross_pnl,
        -- what was put in, in the currency of the profit
        case
            when category = 'inverse' then sum({{ quotient('quantity', 'entry_price') }})
            else sum(entry_price * quantity)
        end as invested,
        max(extracted_at) as synced_at,
        max(settled_at) as settled_at
    from pieces
    group by category, symbol, holder, entry_order_id, exit_order_id
),

trades as (
    select
        case
            when length(concat_ws(':', bot_id, category, symbol, entry_order_id, exit_order_id)) <= 100
                then concat_ws(':', bot_id, category, symbol, entry_order_id, exit_order_id)
            else left(bot_id, 35) || ':' || encode(
                sha256(convert_to(concat_ws(':', bot_id, category, symbol, entry_order_id, exit_order_id), 'UTF8')),
                'hex'
            )
        end as trade_id,
        bot_id,
        category,
        symbol,
        entry_order_id,
        entry_client_order_id,
        entry_side,
        {{ quotient('entry_value', 'quantity') }} as entry_price,
        trim_scale(quantity) as entry_qty,
        entry_time,
        entry_reason,
        entry_attributed_by,
        trim_scale(entry_commission) as entry_commission,
        exit_order_id,
        exit_client_order_id,
        exit_side,
        {{ quotient('exit_value', 'quantity') }} as exit_price,
        trim_scale(quantity) as exit_qty,
        exit_time,
        exit_reason,
        exit_attributed_by,
        trim_scale(exit_commission) as exit_commission,
        trim_scale(gross_pnl) as gross_pnl,
        trim_scale(gross_pnl - entry_commission - exit_commission) as net_pnl,
        case
            when invested > 0
                then {{ quotient('(gross_pnl - entry_commission - exit_commission) * 100', 'invested') }}
        end as pnl_pct,
        trim_scale(entry_commission + exit_commission) as total_commission,
        trim_scale(extract(epoch from exit_time - entry_time)) as holding_duration_seconds,
        'bybit' as source,
        synced_at,
        settled_at as created_at,
        settled_at as updated_at
    from pairs
){{ ',' if has_table }}

{% if has_table %}

final as (
    select
        trades.trade_id,
        trades.bot_id,
        trades.category,
        trades.symbol,
        trades.entry_order_id,
        trades.entry_client_order_id,
        trades.entry_side,
        trades.entry_price,
        trades.entry_qty,
        trades.entry_time,
        trades.entry_reason,
        trades.entry_attributed_by,
        trades.entry_commission,
        trades.exit_order_id,
        trades.exit_client_order_id,
        trades.exit_side,
        trades.exit_price,
        trades.exit_qty,
        trades.exit_time,
        trades.exit_reason,
        trades.exit_attributed_by,
        trades.exit_commission,
        trades.gross_pnl,
        trades.net_pnl,
        trades.pnl_pct,
        trades.total_commission,
        trades.holding_duration_seconds,
        trades.source,
        trades.synced_at,
        coalesce(so_far.created_at, trades.created_at) as created_at,
        case
            when to_jsonb(trades) - '{created_at,updated_at}'::text[]
                = to_jsonb(so_far) - '{created_at,updated_at}'::text[]
                then so_far.updated_at
            else trades.updated_at
        end as updated_at
    from trades
    left join {{ this }} as so_far on trades.trade_id = so_far.trade_id
    {% if is_incremental() %}
    union all
    select
        gone.trade_id
        {{ ', null' * 30 }}
    from {{ this }} as gone
    inner join orders_to_compute
        on gone.category = orders_to_compute.category
            and gone.symbol = orders_to_compute.symbol
            and gone.exit_order_id = orders_to_compute.order_id
    where not exists (select from trades where trades.trade_id = gone.trade_id)
    {% endif %}
)

select * from final
{% else %}

select * from trades
{% endif %}
