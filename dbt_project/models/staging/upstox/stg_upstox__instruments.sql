{#
    The segment says what an instrument is; an unknown one is a reject. Upstox's instrument_type is the series of a share
    (EQ, BE, …) and FUT, CE or PE of a contract. `offset 0` has what several columns need computed once a row.
#}
with

keyed as (
    select
        landed.instrument_key,
        landed.master,
        landed.payload,
        landed.is_listed,
        landed.extracted_at,
        typed.*,
        known.instrument_id,
        known.first_seen,
        known.last_seen
    from {{ all_rows_of(source('upstox', 'upstox_instruments')) }} as landed
    cross join lateral (
        select
            staging.upstox_expiry_date(landed.expiry) as expiry_date,
            landed.payload ->> 'segment' as segment,
            landed.payload ->> 'exchange' as exchange,
            landed.payload ->> 'trading_symbol' as trading_symbol,
            landed.payload ->> 'underlying_symbol' as underlying_symbol,
            landed.payload ->> 'instrument_type' as series,
            staging.upstox_number(landed.payload -> 'strike_price', 0) as strike,
            coalesce(
                staging.upstox_number(landed.payload -> 'lot_size', 1),
                staging.upstox_number(landed.payload -> 'minimum_lot', 1)
            )::integer as lot_size
        from (select 1) as once
        offset 0
    ) as typed
    left join {{ all_rows_of(source('upstox', 'upstox_keys')) }} as known
        on landed.instrument_key = known.instrument_key and typed.expiry_date = known.expiry_date
),

final as (
    select
        keyed.instrument_id,
        keyed.instrument_key,
        keyed.expiry_date,
        keyed.first_seen,
        keyed.last_seen,
        keyed.master,
        keyed.is_listed,
        keyed.trading_symbol,
        keyed.payload ->> 'name' as name,
        keyed.exchange,
        keyed.segment,
        keyed.series,
        kinds.instrument_type,
        keyed.payload ->> 'isin' as isin,
        keyed.payload ->> 'exchange_token' as exchange_token,
        staging.upstox_number(keyed.payload -> 'tick_size', 0) / 100 as tick_size,
        keyed.lot_size,
        keyed.strike,
        keyed.payload ->> 'underlying_key' as underlying_key,
        keyed.underlying_symbol,
        keyed.payload ->> 'underlying_type' as underlying_type,
        keyed.payload -> 'weekly' = 'true'::jsonb as is_weekly,
        case
            when coalesce(keyed.segment, '') = '' then 'segment: no segment'
            when kinds.instrument_type is null and kinds.is_contract then 'instrument_type: neither FUT, CE nor PE'
            when kinds.instrument_type is null then 'segment: an unknown segment'
            when coalesce(keyed.trading_symbol, '') = '' then 'trading_symbol: no trading symbol'
            when coalesce(keyed.exchange, '') = '' then 'exchange: no exchange'
            when keyed.expiry_date is null then 'expiry: no date'
            when not kinds.is_contract then null
            when keyed.expiry_date = 'infinity' then 'expiry: a contract without an expiry'
            when keyed.lot_size is null then 'lot_size: a contract without lot_size and minimum_lot'
            when coalesce(keyed.underlying_symbol, '') = '' then 'underlying_symbol: no underlying'
            when kinds.instrument_type <> 'FUTURES' and coalesce(keyed.strike, 0) = 0
                then 'strike_price: an option without a strike'
        end as fault,
        keyed.payload,
        keyed.extracted_at
    from keyed
    cross join lateral (
        select
            kind.is_contract,
            case
                when kind.is_contract
                    then case keyed.series when 'FUT' then 'FUTURES' when 'CE' then 'CE' when 'PE' then 'PE' end
                when keyed.segment in ('NSE_EQ', 'BSE_EQ') then 'EQUITY'
                when keyed.segment in ('NSE_INDEX', 'BSE_INDEX', 'MCX_INDEX') then 'INDEX'
            end as instrument_type
        from (
            select keyed.segment in ('NSE_FO', 'BSE_FO', 'NCD_FO', 'BCD_FO', 'MCX_FO', 'NSE_COM') as is_contract
        ) as kind
        offset 0
    ) as kinds
)

select * from final
