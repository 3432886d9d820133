{# Weekly options that have expired, each with the seven days before its expiry. #}
with

expiries as (
    select * from {{ source('upstox', 'upstox_expiries') }}
    where listed_at is not null
),

final as (
    select
        contracts.underlying_key,
        contracts.expiry_date,
        contracts.instrument_id,
        contracts.instrument_key,
        contracts.trading_symbol,
        contracts.expiry_date - 7 as window_start,
        contracts.expiry_date as window_end,
        windows.asked_at
    from expiries
    inner join {{ all_rows_of(ref('stg_upstox__instruments')) }} as contracts
        on expiries.underlying_key = contracts.underlying_key
            and expiries.expiry_date = contracts.expiry_date
            and contracts.master = 'expired'
            and contracts.fault is null
            and contracts.is_weekly
    left join {{ all_rows_of(source('upstox', 'upstox_windows')) }} as windows
        on contracts.instrument_id = windows.instrument_id
            and windows.timeframe = '1m'
            and windows.kind = 'expired'
            and contracts.expiry_date - 7 = windows.window_start
)

select * from final
