{#
    CTEs: what an increment of the trades has to match. `orders_to_compute` are the exit orders that have or had a fill
    where something has changed since the trades were computed (int_bybit__fills.settled_at); all their pairs are
    computed again. For each holder and position side of such a fill, `opening_fills` and `closing_fills` start at the first place on its
    scale that these orders touch. `is_to_compute` marks the orders' own fills; the others only lie between them.

    `lateral … offset 0` is a lookup by index, which Postgres would otherwise turn into a join over everything.
#}
{% macro fills_to_match(fills, trades) %}
starts as materialized (
    select distinct on (account_uid, category, symbol)
        account_uid,
        category,
        symbol,
        exec_time,
        seq,
        exec_id
    from {{ fills }}
    where settled_at > (select coalesce(max(updated_at), '-infinity') from {{ trades }})
    order by account_uid, category, symbol, exec_time, seq, exec_id collate "C"
),

orders_to_compute as materialized (
    select
        starts.account_uid,
        starts.category,
        starts.symbol,
        later.order_id
    from starts
    cross join lateral (
        select fills.order_id
        from (select * from {{ fills }}) as fills
        where {{ from_place_on('fills', 'starts') }}
            and fills.closed > 0
        offset 0
    ) as later
    union
    select
        starts.account_uid,
        starts.category,
        starts.symbol,
        later.exit_order_id
    from starts
    cross join lateral (
        select trades.exit_order_id
        from {{ trades }} as trades
        where trades.account_uid = starts.account_uid
            and trades.category = starts.category
            and trades.symbol = starts.symbol
            and trades.exit_time >= starts.exec_time
        offset 0
    ) as later
),

scales as materialized (
    select
        orders_to_compute.account_uid,
        orders_to_compute.category,
        orders_to_compute.symbol,
        exits_of_order.bot_id,
        exits_of_order.side,
        case exits_of_order.side when 'Buy' then 'Sell' else 'Buy' end as opening_side,
        min(exits_of_order.closed_from) as scale_start
    from orders_to_compute
    cross join lateral (
        select
            fills.bot_id,
            fills.side,
            fills.closed_from
        from (select * from {{ fills }}) as fills
        where fills.account_uid = orders_to_compute.account_uid
            and fills.category = orders_to_compute.category
            and fills.symbol = orders_to_compute.symbol
            and fills.order_id = orders_to_compute.order_id
            and fills.closed > 0
        offset 0
    ) as exits_of_order
    group by
        orders_to_compute.account_uid,
        orders_to_compute.category,
        orders_to_compute.symbol,
        exits_of_order.bot_id,
        exits_of_order.side
),

opening_fills as (
    select
        scales.scale_start,
        later.*
    from scales
    cross join lateral (
        select *
        from (select * from {{ fills }}) as fills
        where fills.account_uid = scales.account_uid
            and fills.category = scales.category
            and fills.symbol = scales.symbol
            and fills.opened_by = scales.bot_id
            and fills.side = scales.opening_side
            and fills.opened_from >= coalesce(
                (
                    select max(earlier.opened_from)
                    from (select * from {{ fills }}) as earlier
                    where earlier.account_uid = scales.account_uid
                        and earlier.category = scales.category
                        and earlier.symbol = scales.symbol
                        and earlier.opened_by = scales.bot_id
                        and earlier.side = scales.opening_side
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
        from (select * from {{ fills }}) as fills
        where fills.account_uid = scales.account_uid
            and fills.category = scales.category
            and fills.symbol = scales.symbol
            and fills.bot_id = scales.bot_id
            and fills.side = scales.side
            and fills.closed_from >= scales.scale_start
        offset 0
    ) as later
    left join orders_to_compute
        on later.account_uid = orders_to_compute.account_uid
            and later.category = orders_to_compute.category
            and later.symbol = orders_to_compute.symbol
            and later.order_id = orders_to_compute.order_id
)
{% endmacro %}
