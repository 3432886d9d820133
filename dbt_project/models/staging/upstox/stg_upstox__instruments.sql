{#
    One segment of the source says what an instrument is; an unknown one is a reject. Upstox's instrument_type is the
    series of a share (EQ, BE, …) and FUT, CE or PE of a contract.
#}
with

raw as (
    select
        instrument_key,
        master,
        payload,
        is_listed,
        extracted_at,
        staging.upstox_expiry_date(expiry) as expiry_date,
        payload ->> 'segment' as segment,
        payload ->> 'instrument_type' as series,
        coalesce(
            staging.upstox_number(payload -> 'lot_size', 1), staging.upstox_number(payload -> 'minimum_lot', 1)
        )::integer as lot_size
    from {{ source('upstox', 'upstox_instruments') }}
),

keyed as (
    select
        raw.*,
        known.instrument_id,
        known.first_seen,
        known.last_seen
    from raw
    left join {{ source('upstox', 'upstox_keys') }} as known
        on raw.instrument_key = known.instrument_key and raw.expiry_date = known.expiry_date
),

typed as (
    select
        keyed.*,
        segment ~ '_FO$' or segment in ('NSE_COM', 'MCX_FO') as is_contract,
        case
            when segment ~ '^(NSE|BSE)_EQ$' then 'EQUITY'
            when segment ~ '^(NSE|BSE|MCX)_INDEX$' then 'INDEX'
            when segment ~ '^(NSE|BSE|NCD|BCD|MCX)_FO$' or segment = 'NSE_COM'
                then case series when 'FUT' then 'FUTURES' when 'CE' then 'CE' when 'PE' then 'PE' end
        end as instrument_type,
        staging.upstox_number(payload -> 'strike_price', 0) as strike
    from keyed
),

final as (
    select
        instrument_id,
        instrument_key,
        expiry_date,
        first_seen,
        last_seen,
        master,
        is_listed,
        payload ->> 'trading_symbol' as trading_symbol,
        payload ->> 'name' as name,
        payload ->> 'exchange' as exchange,
        segment,
        series,
        instrument_type,
        payload ->> 'isin' as isin,
        payload ->> 'exchange_token' as exchange_token,
        staging.upstox_number(payload -> 'tick_size', 0) / 100 as tick_size,
        lot_size,
        strike,
        payload ->> 'underlying_key' as underlying_key,
        payload ->> 'underlying_symbol' as underlying_symbol,
        payload ->> 'underlying_type' as underlying_type,
        payload -> 'weekly' = 'true'::jsonb as is_weekly,
        case
            when coalesce(segment, '') = '' then 'segment: no segment'
            when instrument_type is null and is_contract then 'instrument_type: neither FUT, CE nor PE'
            when instrument_type is null then 'segment: an unknown segment'
            when coalesce(payload ->> 'trading_symbol', '') = '' then 'trading_symbol: no trading symbol'
            when coalesce(payload ->> 'exchange', '') = '' then 'exchange: no exchange'
            when expiry_date is null then 'expiry: no date'
            when is_contract and expiry_date = 'infinity' then 'expiry: a contract without an expiry'
            when is_contract and lot_size is null then 'lot_size: a contract without lot_size and minimum_lot'
            when is_contract and coalesce(payload ->> 'underlying_symbol', '') = ''
                then 'underlying_symbol: no underlying'
            when instrument_type in ('CE', 'PE') and coalesce(strike, 0) = 0
                then 'strike_price: an option without a strike'
        end as fault,
        payload,
        extracted_at
    from typed
)

select * from final
