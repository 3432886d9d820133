select
    jsonb_build_object(
        'instrument_id', master.instrument_id,
        'trading_symbol', master.trading_symbol,
        'name', master.name,
        'exchange', master.exchange,
        'segment', master.segment,
        'instrument_type', master.instrument_type,
        'is_listed', master.is_listed
    )
from {{ all_rows_of(ref('instrument_master')) }} as master
where master.instrument_id = $1
