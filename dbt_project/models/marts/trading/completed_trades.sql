{#
    A trade is a pair of an entry order and an exit order of one holder: the pieces that first in, first out makes of
    their fills, added up and valued.

    An increment computes all pairs of the exit orders that `fills_to_match` names. One of them that is no longer there
    comes out with `entry_qty` NULL, which `delete_when` turns into its deletion.

    It is planned without nested loops, by its configuration: they are quadratic where Postgres guesses too few pieces.
#}
{% set of_fill = [
    'account_uid', 'category', 'symbol', 'order_id', 'client_order_id', 'side', 'kind', 'price', 'exec_time', 'reason',
    'commission', 'quantity', 'extracted_at',
] %}
with

{% if is_incremental() %}
{{ fills_to_match(fills=ref('int_bybit__fills'), trades=this) }},
{% else %}
opening_fills as (
    select
        *,
        0 as scale_start
    from {{ ref('int_bybit__fills') }}
    where opened > 0
),

closing_fills as (
    select
        *,
        true as is_to_compute
    from {{ ref('int_bybit__fills') }}
    where closed > 0
),
{% endif %}

-- column by column: the fills also carry the book, which would make sorting them twice as dear
entries as (
    select
        {{ of_fill | join(', ') }},
        opened_by as holder,
        case side when 'Buy' then 'long' else 'short' end as position_side,
        greatest(opened_from, scale_start) as starts_at,
        row_number() over (order by symbol, category, account_uid, opened_by, side, opened_from) as entry_number,
        case when opened_by = bot_id then attributed_by else 'no_position' end as attributed_by,
        quantity - opened - opened_from as before_scale
    from opening_fills
),

exits as (
    select
        {{ of_fill | join(', ') }},
        bot_id as holder,
        case side when 'Sell' then 'long' else 'short' end as position_side,
        closed_from as starts_at,
        closed_from + closed as ends_at,
        row_number() over (
            order by symbol asc, category asc, account_uid asc, bot_id asc, side desc, closed_from asc
        ) as exit_number,
        attributed_by,
        position_mode,
        settled_at,
        is_to_compute
    from closing_fills
),

matched as (
{{ fifo_matching(
    entries='entries',
    exits='exits',
    holder=['symbol', 'category', 'account_uid', 'holder', 'position_side'],
) }}
),

pieces as (
{{ matched_pieces(matched='matched', entries='entries', exits='exits') }}
),

pairs as (
    select
        concat_ws(':', holder, account_uid, category, symbol, entry_order_id, exit_order_id) as pair_name,
        account_uid,
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
        min(position_side) as position_side,
        max(position_mode) as position_mode,
        bool_or(is_moved) as is_moved,
        sum(quantity) as quantity,
        sum(
            case
                when is_moved then 0
                when category = 'inverse'
                    then {{ quotient('quantity * (exit_price - entry_price) * direction', 'entry_price * exit_price') }}
                else quantity * (exit_price - entry_price) * direction
            end
        ) as gross_pnl,
        -- What was put in, in the currency of the profit. The choice is inside: an aggregate's argument is computed
        -- even in a branch that is not taken, and an entry's price may be 0.
        sum(
            case
                when is_moved then 0
                when category = 'inverse' then {{ quotient('quantity', 'entry_price') }}
                else entry_price * quantity
            end
        ) as invested,
        max(extracted_at) as synced_at,
        max(settled_at) as settled_at
    from pieces
    -- the column with the most values first: a sort compares little else
    group by exit_order_id, entry_order_id, holder, symbol, category, account_uid
),

trades as (
    select
        case
            when length(pair_name) <= 100 then pair_name
            else left(bot_id, 35) || ':' || encode(sha256(convert_to(pair_name, 'UTF8')), 'hex')
        end as trade_id,
        -- the first 63 bits of a digest
        ('x' || left(encode(sha256(convert_to(pair_name, 'UTF8')), 'hex'), 16))::bit(64)::bigint & 9223372036854775807
            as id,
        bot_id,
        account_uid,
        category,
        symbol,
        position_side,
        coalesce(position_mode, 'one_way') as position_mode,
        case when is_moved then 'moved' else 'trade' end as kind,
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
        'bybit_api' as source,
        synced_at,
        settled_at as created_at,
        settled_at as updated_at
    from pairs
)

select * from trades
{% if is_incremental() %}
union all
select
        {{ tombstone({'trade_id': 'gone.trade_id'}) }}
from (
    select so_far.trade_id
    from orders_to_compute
    cross join lateral (
        select known.trade_id
        from {{ this }} as known
        where known.account_uid = orders_to_compute.account_uid
            and known.category = orders_to_compute.category
            and known.symbol = orders_to_compute.symbol
            and known.exit_order_id = orders_to_compute.order_id
        offset 0
    ) as so_far
    -- not a join: Postgres would make room for as many trades as it guesses
    except
    select trade_id
    from trades
) as gone
{% endif %}
