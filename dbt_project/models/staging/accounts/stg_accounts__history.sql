{# `staging.mt5_kind` says what a row is. A finished trade opens and closes; of a deal, `entry` says what it does. #}
select
    past.account_id,
    past.ticket as history_ticket,
    past.part,
    past.position_key as ticket,
    staging.mt5_kind(past.payload) as kind,
    past.payload ->> 'symbol' as symbol,
    {{ position_side('past.payload') }} as type,
    case replace(lower(past.payload ->> 'entry'), 'deal_entry_', '')
        when '0' then 'in'
        when '1' then 'out'
        when '2' then 'inout'
        when '3' then 'out_by'
        else replace(lower(past.payload ->> 'entry'), 'deal_entry_', '')
    end as entry,
    {{ json_number('past.payload', ['volume']) }} as volume,
    {{ json_number('past.payload', ['price']) }} as price,
    {{ json_number('past.payload', ['open_price', 'price_open']) }} as open_price,
    {{ broker_time('sent.open_time', 'register.server_utc_offset') }} as open_time,
    nullif({{ json_number('past.payload', ['sl', 'stop_loss']) }}, 0) as stop_loss,
    nullif({{ json_number('past.payload', ['tp', 'take_profit']) }}, 0) as take_profit,
    {{ json_number('past.payload', ['close_price', 'price_close']) }} as close_price,
    {{ broker_time('sent.close_time', 'register.server_utc_offset') }} as close_time,
    {{ broker_time('sent.moment', 'register.server_utc_offset') }} as moment,
    {{ json_number('past.payload', ['profit', 'amount']) }} as profit,
    {{ json_number('past.payload', ['swap']) }} as swap,
    {{ json_number('past.payload', ['commission']) }} as commission,
    {{ json_number('past.payload', ['fee']) }} as fee,
    past.payload ->> 'order' as order_ticket,
    past.payload ->> 'magic' as magic,
    past.payload ->> 'reason' as reason,
    past.payload ->> 'comment' as comment,
    past.landed_at,
    past.extracted_at
from {{ all_rows_of(source('accounts', 'mt5_history')) }} as past
left join {{ all_rows_of(source('register', 'registered_accounts')) }} as register on past.account_id = register.id
cross join lateral (
    select
        {{ json_moment('past.payload', ['open_time', 'time_open']) }} as open_time,
        {{ json_moment('past.payload', ['close_time', 'time_close']) }} as close_time,
        coalesce(
            to_timestamp(({{ json_number('past.payload', ['time_msc']) }} / 1000)::double precision),
            {{ json_moment('past.payload', ['time', 'close_time', 'time_close', 'open_time']) }}
        ) as moment
) as sent
