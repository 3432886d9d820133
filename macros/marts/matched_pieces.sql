{#
    The pieces that `fifo_matching` found, with what their entry and exit fills say and their shares of the fees. A piece of
    which one end is `moved` (a position that came or went without a price) has the price of the other end on both, and so
    no profit.
#}
{% macro matched_pieces(matched, entries, exits) %}
    select
        exits.account_uid,
        exits.category,
        exits.symbol,
        exits.holder,
        spans.ends_at - spans.starts_at as quantity,
        exits.position_side,
        exits.position_mode,
        case entries.side when 'Buy' then 1 else -1 end as direction,
        entries.kind = 'moved' or exits.kind = 'moved' as is_moved,
        entries.order_id as entry_order_id,
        entries.client_order_id as entry_client_order_id,
        entries.side as entry_side,
        case when entries.kind = 'moved' then coalesce(exits.price, entries.price, 0) else entries.price end as entry_price,
        entries.exec_time as entry_time,
        entries.reason as entry_reason,
        entries.attributed_by as entry_attributed_by,
        {{ fee_share(
            'entries.commission',
            'entries.quantity',
            'entries.before_scale + spans.starts_at',
            'entries.before_scale + spans.ends_at',
        ) }} as entry_commission,
        exits.order_id as exit_order_id,
        exits.client_order_id as exit_client_order_id,
        exits.side as exit_side,
        case
            when exits.kind = 'moved' and entries.kind = 'moved' then coalesce(exits.price, entries.price, 0)
            when exits.kind = 'moved' then entries.price
            else exits.price
        end as exit_price,
        exits.exec_time as exit_time,
        exits.reason as exit_reason,
        exits.attributed_by as exit_attributed_by,
        {{ fee_share(
            'exits.commission',
            'exits.quantity',
            'spans.starts_at - exits.starts_at',
            'spans.ends_at - exits.starts_at',
        ) }} as exit_commission,
        greatest(entries.extracted_at, exits.extracted_at) as extracted_at,
        exits.settled_at
    from {{ matched }} as spans
    inner join {{ entries }} as entries on spans.entry_number = entries.entry_number
    inner join {{ exits }} as exits on spans.exit_number = exits.exit_number
    where exits.is_to_compute
{%- endmacro %}
