select
    listed.account_id,
    listed.ticket,
    listed.is_listed,
    listed.opened_volume,
    listed.payload ->> 'symbol' as symbol,
    {{ position_side('listed.payload') }} as type,
    {{ json_number('listed.payload', ['volume']) }} as volume,
    {{ json_number('listed.payload', ['open_price', 'price_open']) }} as open_price,
    {{ broker_time('sent.open_time', 'register.server_utc_offset') }} as open_time,
    nullif({{ json_number('listed.payload', ['sl', 'stop_loss']) }}, 0) as stop_loss,
    nullif({{ json_number('listed.payload', ['tp', 'take_profit']) }}, 0) as take_profit,
    {{ json_number('listed.payload', ['current_price', 'price_current']) }} as current_price,
    {{ json_number('listed.payload', ['profit']) }} as profit,
    {{ json_number('listed.payload', ['swap']) }} as swap,
    {{ json_number('listed.payload', ['commission']) }} as commission,
    listed.payload ->> 'comment' as comment,
    listed.extracted_at
from {{ all_rows_of(source('accounts', 'mt5_positions')) }} as listed
left join {{ all_rows_of(source('register', 'registered_accounts')) }} as register on listed.account_id = register.id
cross join lateral (
    select {{ json_moment('listed.payload', ['open_time', 'time']) }} as open_time
) as sent
