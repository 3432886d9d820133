{#
    What the history says of each position, whatever the order in which its rows came. A deal IN opens, OUT and OUT_BY
    close, INOUT closes what is open and opens the rest the other way. A finished trade closes its volume. Where the history
    has both of one position, those count that close more of it.

    `opened_in_history` is 0 where the history begins behind the opening.
#}
with

rows as (
    select
        *,
        case type when 'buy' then 1 else -1 end as sign,
        sum(case type when 'buy' then volume else -volume end) over (
            partition by account_id, ticket, kind
            order by moment nulls first, length(history_ticket), history_ticket, part
            rows between unbounded preceding and 1 preceding
        ) as net_before,
        first_value(entry) over (
            partition by account_id, ticket, kind
            order by moment nulls first, length(history_ticket), history_ticket, part
        ) as first_entry
    from {{ ref('stg_accounts__history') }}
    where kind in ('trade', 'deal')
),

closing as (
    select
        *,
        case
            when kind = 'trade' or entry in ('out', 'out_by') then volume
            when entry = 'inout' then least(volume, greatest(-sign * coalesce(net_before, 0), 0))
            else 0
        end as closed
    from rows
),

cut as (
    select
        *,
        case when kind = 'trade' or entry = 'in' then volume when entry = 'inout' then volume - closed else 0 end
            as opened,
        case when kind = 'trade' then open_price else price end as opened_at_price,
        case when kind = 'trade' then close_price else price end as closed_at_price,
        case when kind = 'trade' then open_time else moment end as opened_at,
        case when kind = 'trade' then close_time else moment end as closed_at
    from closing
),

sums as (
    select
        account_id,
        ticket,
        kind,
        max(symbol) as symbol,
        -- of a position that was reversed, the side on which it began
        (
            array_agg(
                case when opened > 0 then type when type = 'buy' then 'sell' when type = 'sell' then 'buy' else type end
                order by moment nulls first, length(history_ticket), history_ticket
            )
        )[1] as type,
        sum(closed) as volume,
        sum(case when kind = 'deal' and first_entry = 'in' then opened else 0 end) as opened_in_history,
        coalesce(
            {{ quotient(
                'sum(opened_at_price * opened)',
                'nullif(sum(opened) filter (where opened_at_price is not null), 0)',
            ) }},
            max(opened_at_price) filter (where kind = 'trade' or opened > 0)
        ) as open_price,
        min(opened_at) filter (where kind = 'trade' or opened > 0) as open_time,
        coalesce(
            {{ quotient(
                'sum(closed_at_price * closed)',
                'nullif(sum(closed) filter (where closed_at_price is not null), 0)',
            ) }},
            max(closed_at_price) filter (where kind = 'trade' or closed > 0)
        ) as close_price,
        max(closed_at) filter (where kind = 'trade' or closed > 0) as close_time,
        (array_agg(stop_loss order by moment desc nulls last) filter (where stop_loss is not null))[1] as stop_loss,
        (array_agg(take_profit order by moment desc nulls last) filter (where take_profit is not null))[1]
            as take_profit,
        sum(profit) as profit,
        sum(swap) as swap,
        sum(commission) as commission,
        sum(fee) as fee,
        -- of deals the order's, for those that close say why they do
        case
            when kind = 'deal' then (
                array_agg(comment order by moment asc nulls first, length(history_ticket) asc, history_ticket asc)
            )[1]
            else (array_agg(comment order by moment desc nulls last, history_ticket desc, part desc))[1]
        end as comment,
        max(landed_at) as landed_at,
        max(extracted_at) as extracted_at
    from cut
    group by account_id, ticket, kind
)

select distinct on (account_id, ticket) *
from sums
order by account_id asc, ticket asc, volume desc, kind asc
