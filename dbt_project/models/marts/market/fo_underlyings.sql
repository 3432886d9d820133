with

contracts as (
    select
        master.underlying_key as instrument_key,
        master.underlying_type,
        master.is_listed,
        known.first_seen,
        known.last_seen
    from {{ all_rows_of(ref('instrument_master')) }} as master
    inner join {{ all_rows_of(source('upstox', 'upstox_keys')) }} as known using (instrument_id)
    where master.underlying_key is not null
),

final as (
    select
        instrument_key,
        underlying_type,
        min(first_seen) as first_seen,
        case when not bool_or(is_listed) then max(last_seen) end as last_seen
    from contracts
    group by instrument_key, underlying_type
)

select * from final
