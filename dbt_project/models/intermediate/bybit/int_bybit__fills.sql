{#
    Who closed and opened what, fill by fill. An increment starts, in each account, category and symbol, at the first place where
    a fill is new, different or gone, from the book that the fill before left; the fills before it stay as they are.

    `settled_at` is the newest batch among a fill and all before it: where it grows, something at or before the fill
    has changed, and what is built from the fills has to be built again from there. An execution that has left its place
    leaves a void row there, which does nothing but carry that on.

    It is planned without nested loops, and without a cache of what `lateral` has looked up.
#}
{% set typed = [
    'order_id',
    'client_order_id',
    'side',
    'price',
    'quantity',
    'commission',
    'exec_type',
    'kind',
    'linked_bot',
    'reason',
    'only_closes',
    'exchange_closed',
    'unpriced_fee',
    'fee_currency',
] %}
with

executions as (
    select
        *,
        closed_size as exchange_closed
    from {{ ref('stg_bybit__executions') }}
),

{% if is_incremental() %}
{{ places_since_change(executions='executions', fills=this, typed=typed) }},
{% else %}
places as (
    select
        *,
        false as is_void,
        extracted_at as placed_at,
        null::jsonb as opening_book
    from executions
    where kind in ('fill', 'moved')
),
{% endif %}

steps as (
    select
        *,
        {{ function('bybit_book') }}(
            opening_book,
            linked_bot,
            case when is_void then 0 when side = 'Buy' then quantity else -quantity end,
            exchange_closed,
            coalesce(only_closes, false),
            category in ('linear', 'inverse')
        ) over in_turn as step,
        max(placed_at) over in_turn as newest_placed_at
    from places
    -- the column with the most values first: a sort compares little else
    window in_turn as (partition by symbol, category, account_uid order by exec_time, seq, exec_id collate "C")
),

final as (
    select
        account_uid,
        category,
        symbol,
        exec_time,
        seq,
        exec_id,
        order_id,
        client_order_id,
        side,
        price,
        quantity,
        commission,
        exec_type,
        kind,
        linked_bot,
        reason,
        only_closes,
        (step).bot_id as bot_id,
        (step).attributed_by as attributed_by,
        (step).closed as closed,
        (step).closed_from as closed_from,
        (step).unmatched as unmatched,
        (step).opened as opened,
        (step).opened_from as opened_from,
        (step).opened_by as opened_by,
        (step).position_mode as position_mode,
        exchange_closed,
        (step).account_closed as account_closed,
        unpriced_fee,
        fee_currency,
        (step).book as book,
        is_void,
        placed_at as extracted_at,
        -- in an increment the first place is one that changed, newer than all before it
        newest_placed_at as settled_at
    from steps
)

select * from final
