with

wanted as (
    select
        wanted.segment,
        wanted.instrument_id,
        case
            when wanted.segment in ('indices_nse', 'indices_bse') then wanted.trading_symbol
            else options.underlying
        end as underlying,
        options.expiry_date
    from {{ function('upstox_wanted') }}(array_remove($1, 'fo_historical'), $2) as wanted
    left join {{ all_rows_of(ref('option_master')) }} as options on wanted.instrument_id = options.instrument_id
    union all
    select
        'fo_expired',
        contracts.instrument_id,
        indices.symbol,
        contracts.expiry_date
    from {{ all_rows_of(ref('upstox_expired_contracts')) }} as contracts
    inner join {{ all_rows_of(ref('market_indices')) }} as indices on contracts.underlying_key = indices.instrument_key
    where 'fo_expired' = any($1)
),

held as (
    select
        instrument_id,
        sum(candles) filter (where timeframe = '1d') as days,
        sum(candles) filter (where timeframe = '1m') as minutes,
        max(last_at) as newest
    from {{ all_rows_of(source('upstox_market', 'coverage')) }}
    where timeframe in ('1d', '1m')
    group by instrument_id
),

missing as (
    select
        instrument_id,
        count(*) filter (where not is_settled) as gaps,
        count(*) filter (where is_settled) as settled_gaps
    from {{ all_rows_of(ref('gaps')) }}
    group by instrument_id
)

select
    wanted.segment,
    wanted.underlying,
    wanted.expiry_date,
    count(*),
    count(*) filter (where held.instrument_id is null),
    coalesce(sum(held.days), 0)::bigint,
    coalesce(sum(held.minutes), 0)::bigint,
    max(held.newest),
    coalesce(sum(missing.gaps), 0)::bigint,
    coalesce(sum(missing.settled_gaps), 0)::bigint
from wanted
left join held on wanted.instrument_id = held.instrument_id
left join missing on wanted.instrument_id = missing.instrument_id
group by wanted.segment, wanted.underlying, wanted.expiry_date
order by array_position($1, wanted.segment), wanted.underlying, wanted.expiry_date
