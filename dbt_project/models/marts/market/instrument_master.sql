{# Of an instrument's keys the one that is listed counts, else the one that was listed last. #}
select distinct on (instrument_id)
    instrument_id,
    instrument_key,
    trading_symbol,
    name,
    exchange,
    segment,
    instrument_type,
    isin,
    series,
    exchange_token,
    tick_size,
    underlying_key,
    underlying_type,
    is_listed,
    max(extracted_at) over (partition by instrument_id) as synced_at
from {{ ref('stg_upstox__instruments') }}
where fault is null
    {% if is_incremental() %}
    and instrument_id in ({{ changed_instruments() }})
    {% endif %}
order by instrument_id asc, is_listed desc, first_seen desc, instrument_key asc
