select
    account_id,
    {{ json_number('payload', ['balance']) }} as balance,
    {{ json_number('payload', ['equity']) }} as equity,
    {{ json_number('payload', ['margin']) }} as margin,
    {{ json_number('payload', ['free_margin', 'margin_free']) }} as free_margin,
    {{ json_number('payload', ['margin_level']) }} as margin_level,
    payload ->> 'currency' as currency,
    {{ json_number('payload', ['leverage']) }} as leverage,
    extracted_at
from {{ source('accounts', 'mt5_account_info') }}
