select
    instrument_id,
    since,
    lot_size
from {{ source('upstox', 'upstox_lots') }}
