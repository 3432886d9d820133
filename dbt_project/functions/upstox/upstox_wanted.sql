with

master as (
    select
        instrument_id,
        instrument_key,
        trading_symbol,
        exchange,
        segment,
        underlying_key,
        underlying_type,
        is_listed
    from {{ all_rows_of(ref('instrument_master')) }}
),

indices as (
    select
        segment,
        instrument_key,
        is_benchmark
    from {{ all_rows_of(ref('market_indices')) }}
),

of_indices as (
    select
        named.segment,
        master.*
    from (
        select
            segment,
            instrument_key
        from indices
        where segment = any($1)
        union all
        select
            'sessions',
            instrument_key
        from indices
        where is_benchmark and 'sessions' = any($1)
    ) as named (segment, instrument_key)
    inner join (select * from master) as master (
        instrument_id, instrument_key, trading_symbol, exchange, market, underlying_key, underlying_type, is_listed
    ) on named.instrument_key = master.instrument_key
),

shares as (
    select * from master
    where 'equity' = any($1)
        and instrument_key in (
            select contracts.underlying_key
            from master as contracts
            where contracts.segment = 'NSE_FO' and contracts.underlying_type = 'EQUITY' and contracts.is_listed
        )
),

contracts as (
    select
        wanted.segment,
        options.instrument_id
    from {{ all_rows_of(ref('option_master')) }} as options
    inner join {{ all_rows_of(ref('market_underlyings')) }} as chosen on options.underlying = chosen.symbol
    cross join unnest(array['fo_current', 'fo_historical']) as wanted (segment)
    where wanted.segment = any($1)
        and options.is_listed
        and options.expiry_date between $2 and $2 + 90
)

select
    segment,
    instrument_id,
    instrument_key,
    trading_symbol,
    exchange,
    false
from of_indices
union all
select
    'equity',
    instrument_id,
    instrument_key,
    trading_symbol,
    exchange,
    false
from shares
union all
select
    contracts.segment,
    contracts.instrument_id,
    master.instrument_key,
    master.trading_symbol,
    master.exchange,
    true
from contracts
inner join master on contracts.instrument_id = master.instrument_id
