select
    account_id,
    ticket,
    is_listed,
    payload ->> 'symbol' as symbol,
    {{ position_side('payload') }} as type,
    {{ json_number('payload', ['volume']) }} as volume,
    {{ json_number('payload', ['open_price', 'price_open']) }} as open_price,
    {{ json_moment('payload', ['open_time', 'time']) }} as open_time,
    nullif({{ json_number('payload', ['sl', 'stop_loss']) }}, 0) as stop_loss,
    nullif({{ json_number('payload', ['tp', 'take_profit']) }}, 0) as take_profit,
    {{ json_number('payload', ['current_price', 'price_current']) }} as current_price,
    {{ json_number('payload', ['profit']) }} as profit,
    {{ json_number('payload', ['swap']) }} as swap,
    {{ json_number('payload', ['commission']) }} as commission,
    payload ->> 'comment' as comment,
    extracted_at
from {{ source('accounts', 'mt5_positions') }}
