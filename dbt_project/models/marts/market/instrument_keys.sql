select
    instrument_key,
    nullif(expiry_date, 'infinity') as expiry_date,
    instrument_id,
    first_seen,
    last_seen,
    linked_from
from {{ source('upstox', 'upstox_keys') }}
