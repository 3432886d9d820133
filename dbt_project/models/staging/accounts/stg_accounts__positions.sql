select
    position.account_id,
    position.ticket,
    position.is_listed,
    position.opened_volume,
    position.payload ->> 'symbol' as symbol,
    {{ position_side('position.payload') }} as type,
    {{ json_number('position.payload', ['volume']) }} as volume,
    {{ json_number('position.payload', ['open_price', 'price_open']) }} as open_price,
    {{ broker_time('sent.open_time', 'register.server_utc_offset') }} as open_time,
    nullif({{ json_number('position.payload', ['sl', 'stop_loss']) }}, 0) as stop_loss,
    nullif({{ json_number('position.payload', ['tp', 'take_profit']) }}, 0) as take_profit,
    {{ json_number('position.payload', ['current_price', 'price_current']) }} as current_price,
    {{ json_number('position.payload', ['profit']) }} as profit,
    {{ json_number('position.payload', ['swap']) }} as swap,
    {{ json_number('position.payload', ['commission']) }} as commission,
    position.payload ->> 'comment' as comment,
    position.extracted_at
from {{ source('accounts', 'mt5_positions') }} as position
left join {{ source('register', 'registered_accounts') }} as register on position.account_id = register.id
cross join lateral (
    select {{ json_moment('position.payload', ['open_time', 'time']) }} as open_time
) as sent
