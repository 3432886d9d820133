{#
    Who closed and opened what, fill by fill. An increment starts, in each category and symbol, at the first place where
    a fill is new, different or gone, from the book that the fill before left; the fills before it stay as they are.

    `settled_at` is the newest batch among a fill and all before it: where it grows, something at or before the fill
    has changed, and what is built from the fills has to be built again from there. An execution that has left its place
    (it became a reject, or moved in time or symbol) leaves a void row there, which does nothing but carry that on.

    It is planned without nested loops, as completed_trades is.
#}
with

{% if is_incremental() %}

changed as materialized (
    select
        exec_id,
        category,
        symbol,
        exec_time,
        seq,
        kind,
        extracted_at
    from {{ ref('stg_bybit__executions') }}
    where extracted_at > (select coalesce(max(extracted_at), '-infinity') from {{ this }})
),

places_changed as (
    select
        category,
        symbol,
        exec_time,
        seq,
        exec_id
    from changed
    where kind = 'fill'
    union all
    select
        left_behind.category,
        left_behind.symbol,
        left_behind.exec_time,
        left_behind.seq,
        left_behind.exec_id
    from {{ this }} as left_behind
    where not left_behind.is_void and left_behind.exec_id in (select exec_id from changed)
),

starts as materialized (
    select distinct on (category, symbol)
        category,
        symbol,
        exec_time,
        seq,
        exec_id
    from places_changed
    order by category, symbol, exec_time, seq, exec_id collate "C"
),

openings as materialized (
    select
        starts.*,
        previous.book
    from starts
    left join lateral (
        select
            earlier.book
        from {{ this }} as earlier
        where earlier.category = starts.category
            and earlier.symbol = starts.symbol
            and earlier.exec_time <= starts.exec_time
            and (earlier.exec_time, earlier.seq, earlier.exec_id collate "C")
            < (starts.exec_time, starts.seq, starts.exec_id collate "C")
        order by earlier.exec_time desc, earlier.seq desc, earlier.exec_id collate "C" desc
        limit 1
    ) as previous on true
),

fills_from_start as materialized (
    select
        fills.*,
        openings.book as opening_book
    from {{ ref('stg_bybit__executions') }} as fills
    inner join openings
        on fills.category = openings.category
            and fills.symbol = openings.symbol
            and (fills.exec_time, fills.seq, fills.exec_id collate "C")
            >= (openings.exec_time, openings.seq, openings.exec_id collate "C")
    -- said once more for the index
    where fills.kind = 'fill'
        and fills.category = any(array(select category from starts))
        and fills.exec_time >= (select min(exec_time) from starts)
),

rows_from_start as (
    select
        so_far.*,
        openings.book as opening_book
    from openings
    cross join lateral (
        select *
        from {{ this }} as later
        where later.category = openings.category
            and later.symbol = openings.symbol
            and later.exec_time >= openings.exec_time
            and (later.exec_time, later.seq, later.exec_id collate "C")
            >= (openings.exec_time, openings.seq, openings.exec_id collate "C")
        offset 0
    ) as so_far
),

{% endif %}

{% set fill_columns %}
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
        linked_bot,
        reason,
        case side when 'Buy' then quantity else -quantity end as signed_quantity,
        closed_size,
        only_closes,
        false as is_void,
        extracted_at
{%- endset %}
{% if is_incremental() %}

-- what holds now, and below it, where nothing holds any more, what was there
places as (
    select distinct on (category, symbol, exec_time, seq, exec_id collate "C") *
    from (
        select
            {{ fill_columns }},
            opening_book
        from fills_from_start
        union all
        select
            so_far.category,
            so_far.symbol,
            so_far.exec_time,
            so_far.seq,
            so_far.exec_id,
            null,
            null,
            null,
            null,
            null,
            null,
            null,
            null,
            null,
            0,
            null,
            false,
            true,
            case
                when so_far.is_void then so_far.extracted_at
                else coalesce(changed.extracted_at, so_far.extracted_at)
            end,
            so_far.opening_book
        from rows_from_start as so_far
        left join changed on so_far.exec_id = changed.exec_id
    ) as candidates
    order by category, symbol, exec_time, seq, exec_id collate "C", is_void
),

{% else %}

places as (
    select
        {{ fill_columns }},
        null::jsonb as opening_book
    from {{ ref('stg_bybit__executions') }}
    where kind = 'fill'
),

{% endif %}

steps as (
    select
        *,
        staging.bybit_book(opening_book, linked_bot, signed_quantity, closed_size, only_closes) over place as step,
        max(extracted_at) over place as newest_extracted_at
    from places
    window place as (partition by category, symbol order by exec_time, seq, exec_id collate "C")
),

final as (
    select
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
        linked_bot,
        reason,
        (step).bot_id as bot_id,
        (step).attributed_by as attributed_by,
        (step).closed as closed,
        (step).closed_from as closed_from,
        (step).unmatched as unmatched,
        (step).opened as opened,
        (step).opened_from as opened_from,
        (step).opened_by as opened_by,
        (step).book as book,
        is_void,
        extracted_at,
        -- in an increment the first place is one that changed, newer than all before it
        newest_extracted_at as settled_at
    from steps
)

select * from final
