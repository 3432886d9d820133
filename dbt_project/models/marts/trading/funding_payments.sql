select
    exec_id,
    category,
    symbol,
    exec_time,
    side,
    fee as amount_paid,
    fee_currency,
    price as mark_price,
    quantity as position_qty,
    payload ->> 'feeRate' as funding_rate,
    extracted_at as synced_at
from {{ ref('stg_bybit__executions') }}
where kind = 'funding'
