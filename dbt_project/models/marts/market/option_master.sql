{# Futures have neither strike nor option type. The lot size is the newest; lot_sizes has all. #}
select distinct on (instrument_id)
    instrument_id,
    underlying_symbol as underlying,
    underlying_key,
    expiry_date,
    case when instrument_type <> 'FUTURES' then strike end as strike,
    case when instrument_type <> 'FUTURES' then instrument_type end as option_type,
    is_weekly,
    lot_size,
    is_listed,
    max(extracted_at) over (partition by instrument_id) as synced_at
from {{ ref('stg_upstox__instruments') }}
where fault is null
    and expiry_date < 'infinity'
    {% if is_incremental() %}
    and instrument_id in ({{ changed_instruments() }})
    {% endif %}
order by instrument_id asc, is_listed desc, first_seen desc, instrument_key asc
