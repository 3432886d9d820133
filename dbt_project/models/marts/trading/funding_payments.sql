{#
    Straight from the source: the view of all executions would be computed for each of them. Who held the position is in
    the book that the fill before the payment left.
#}
with

payments as (
    select
        account_uid,
        exec_id,
        category,
        payload ->> 'symbol' as symbol,
        exec_time,
        payload ->> 'side' as side,
        case when {{ is_decimal("payload ->> 'execFee'") }} then (payload ->> 'execFee')::numeric end as amount_paid,
        nullif(payload ->> 'feeCurrency', '') as fee_currency,
        case when {{ is_decimal("payload ->> 'execPrice'") }} then (payload ->> 'execPrice')::numeric end as mark_price,
        case when {{ is_decimal("payload ->> 'execQty'") }} then (payload ->> 'execQty')::numeric end as position_qty,
        payload ->> 'feeRate' as funding_rate,
        extracted_at
    from {{ source('bybit', 'bybit_executions') }}
    where payload ->> 'execType' = 'Funding'
),

final as (
    select
        payments.exec_id,
        coalesce(holders.bot_id, 'unassigned') as bot_id,
        payments.account_uid,
        payments.category,
        payments.symbol,
        payments.exec_time,
        payments.side,
        payments.amount_paid as payment,
        -- differences of a running total, so that the shares sum to the payment
        case
            when holders.bot_id is null then payments.amount_paid
            else
                {{ quotient('payments.amount_paid * holders.held_so_far', 'holders.held_by_all') }}
                - {{ quotient('payments.amount_paid * (holders.held_so_far - holders.held)', 'holders.held_by_all') }}
        end as amount_paid,
        payments.fee_currency,
        payments.mark_price,
        payments.position_qty,
        payments.funding_rate,
        payments.extracted_at as synced_at
    from payments
    left join lateral (
        select
            fills.book,
            fills.position_mode = 'hedge' as is_hedge
        from (select * from {{ ref('int_bybit__fills') }}) as fills
        where fills.account_uid = payments.account_uid
            and fills.category = payments.category
            and fills.symbol = payments.symbol
            and fills.exec_time < payments.exec_time
            and not fills.is_void
        order by fills.exec_time desc, fills.seq desc, fills.exec_id collate "C" desc
        limit 1
    ) as last_fill on true
    left join lateral (
        select
            bot_id,
            held,
            sum(held) over (order by bot_id) as held_so_far,
            sum(held) over () as held_by_all
        from (
            select
                substr(bots.key, 2) as bot_id,
                sum(
                    ((bots.value -> 0)::numeric - (bots.value -> 1)::numeric)
                    * case when starts_with(bots.key, '+') then 1 else -1 end
                ) as held
            from jsonb_each(last_fill.book) as bots
            where bots.key <> ''
                -- in hedge mode a payment is for one side, in one-way mode for the net of both
                and (
                    not last_fill.is_hedge
                    or payments.side not in ('Buy', 'Sell')
                    or starts_with(bots.key, case payments.side when 'Buy' then '+' else '-' end)
                )
            group by bots.key
        ) as positions
        where held <> 0
    ) as holders on holders.held_by_all <> 0
)

select * from final
