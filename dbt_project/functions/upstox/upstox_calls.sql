with

clock as (
    select
        $1 - $4 as asked_before,
        {{ india_day('$1') }} as today,
        ($1 at time zone 'Asia/Kolkata')::time as time_of_day
),

due as materialized (
    select named.segment, named.place
    from unnest($2) with ordinality as named (segment, place)
    where not exists (
        select from {{ all_rows_of(source('upstox', 'upstox_parts')) }}
        where part = 'segment ' || named.segment
            and completed_at > $1 - case when named.segment in ('fo_historical', 'fo_expired') then $5 else $4 end
    )
),

wanted as materialized (
    select wanted.*, coalesce(due.place, 0) as place
    from {{ function('upstox_wanted') }}(
        (select array_append(array_agg(segment), 'sessions') from due), (select today from clock)
    ) as wanted
    left join due on wanted.segment = due.segment
),

windows as materialized (
    select
        known.instrument_id, known.timeframe, known.kind, known.window_start, known.window_end, known.asked_at,
        -- days whose candles somebody has deleted; what has only just landed is on its way
        known.is_stale or (
            known.extracted_at <= (select max(synced_at) from {{ all_rows_of(ref('candle_data')) }})
            and cardinality(known.days) > (
                select count(*) from {{ all_rows_of(source('upstox_market', 'coverage')) }} as coverage
                where coverage.instrument_id = known.instrument_id and coverage.timeframe = known.timeframe
                    and coverage.day between known.window_start and known.window_end
            )
        ) as is_due,
        (select today from clock) = any(known.days) as has_today
    from {{ all_rows_of(source('upstox', 'upstox_windows')) }} as known
    where known.instrument_id in (select instrument_id from wanted)
),

daily as (
    select distinct on (wanted.instrument_id, decades.first_day)
        wanted.*, decades.first_day, decades.last_day
    from wanted
    cross join clock
    cross join lateral (
        select make_date(year, 1, 1) as first_day, least(make_date(year + 9, 12, 31), clock.today) as last_day
        from generate_series(2000, extract(year from clock.today)::integer, 10) as year
    ) as decades
    left join windows
        on windows.instrument_id = wanted.instrument_id and windows.timeframe = '1d' and windows.kind = 'history'
            and windows.window_start = decades.first_day
    where (not wanted.is_contract or decades.last_day >= clock.today - 365)
        and (
            windows.asked_at is null or windows.is_due
            -- the newest years are read again: history may have been adjusted
            or decades.last_day >= clock.today - 365 and windows.asked_at <= clock.asked_before
        )
    order by wanted.instrument_id, decades.first_day, wanted.place
),

-- up to which day the daily candles tell whether there was a session
known as (
    select
        wanted.instrument_id, wanted.exchange, wanted.is_contract,
        max({{ india_day('windows.asked_at') }}) as until_day
    from wanted
    left join windows
        on windows.instrument_id = wanted.instrument_id and windows.timeframe = '1d' and windows.kind = 'history'
    where wanted.segment <> 'sessions'
    group by wanted.instrument_id, wanted.exchange, wanted.is_contract
),

needed as (
    select gaps.instrument_id, gaps.day
    from {{ all_rows_of(ref('gaps')) }} as gaps
    where not gaps.is_settled
    union all
    select known.instrument_id, presumed.day
    from known
    cross join clock
    inner join {{ function('upstox_presumed_sessions') }}('2022-01-01', (select today - 1 from clock)) as presumed
        on presumed.exchange = known.exchange
            and presumed.day >= coalesce(known.until_day, case when not known.is_contract then '2022-01-01'::date end)
    where not exists (
        select from {{ all_rows_of(source('upstox_market', 'coverage')) }} as coverage
        where coverage.instrument_id = known.instrument_id and coverage.timeframe = '1m' and coverage.day = presumed.day
    )
    union all
    select windows.instrument_id, windows.window_start
    from windows
    cross join clock
    where windows.kind = 'intraday' and windows.window_start between clock.today - 7 and clock.today - 1
),

months as (
    select needed.instrument_id, date_trunc('month', needed.day)::date as first_day, max(needed.day) as newest
    from needed
    group by 1, 2
),

minutes as (
    select months.instrument_id, months.first_day
    from months
    cross join clock
    left join windows
        on windows.instrument_id = months.instrument_id and windows.timeframe = '1m' and windows.kind = 'history'
            and windows.window_start = months.first_day
    where windows.asked_at is null or months.newest > windows.window_end or windows.asked_at <= clock.asked_before
    union
    select instrument_id, window_start
    from windows
    where is_due and timeframe = '1m' and kind = 'history'
),

calls as (
    select 1 as stage, 0::bigint as place, '' as segment, 'master' as kind, masters.name as subject,
        null::bigint as instrument_id, null as instrument_key, null as timeframe,
        null::date as window_start, null::date as window_end
    from unnest($3) as masters (name)
    where not exists (
        select from {{ all_rows_of(source('upstox', 'upstox_parts')) }}, clock
        where part = 'master ' || masters.name and completed_at > clock.asked_before
    )
    union all
    select 1, 0, '', 'calendar', 'holidays', null, null, null, null, null
    where not exists (
        select from {{ all_rows_of(source('upstox', 'upstox_parts')) }}, clock
        where part = 'calendar' and completed_at > clock.asked_before
    )
    union all
    select 2, place, segment, 'history', trading_symbol, instrument_id, instrument_key, '1d', first_day, last_day
    from daily
    union all
    select 3, wanted.place, wanted.segment, 'history', wanted.trading_symbol, wanted.instrument_id,
        wanted.instrument_key, '1m', minutes.first_day,
        least((minutes.first_day + interval '1 month')::date, clock.today) - 1
    from minutes
    inner join wanted on wanted.instrument_id = minutes.instrument_id
    cross join clock
    where case wanted.segment
        when 'sessions' then false
        when 'fo_current' then minutes.first_day >= date_trunc('month', clock.today - 1)
        when 'fo_historical' then minutes.first_day < date_trunc('month', clock.today - 1)
        else true
    end
    union all
    select 4, wanted.place, wanted.segment, 'intraday', wanted.trading_symbol, wanted.instrument_id,
        wanted.instrument_key, '1m', clock.today, clock.today
    from wanted
    cross join clock
    inner join {{ function('upstox_presumed_sessions') }}((select today from clock), (select today from clock))
        as presumed on presumed.exchange = wanted.exchange
    where wanted.segment in ('equity', 'indices_nse', 'indices_bse') and clock.time_of_day >= '09:15'
        and not exists (
            select from windows
            where windows.instrument_id = wanted.instrument_id and windows.timeframe = '1m'
                and (
                    windows.kind = 'history' and windows.has_today
                    or windows.kind = 'intraday' and windows.window_start = clock.today
                    and windows.asked_at > clock.asked_before
                )
        )
    union all
    select 5, due.place, due.segment, 'expiries', indices.symbol, null, indices.instrument_key, null, null, null
    from due
    cross join {{ all_rows_of(ref('market_indices')) }} as indices
    where due.segment = 'fo_expired' and not exists (
        select from {{ all_rows_of(source('upstox', 'upstox_parts')) }}
        where part = 'expiries ' || indices.instrument_key and completed_at > $1 - $5
    )
    union all
    select 6, due.place, due.segment, 'contracts', indices.symbol, null, indices.instrument_key, null,
        expiries.expiry_date, expiries.expiry_date
    from due
    cross join clock
    cross join {{ all_rows_of(source('upstox', 'upstox_expiries')) }} as expiries
    inner join {{ all_rows_of(ref('market_indices')) }} as indices on indices.instrument_key = expiries.underlying_key
    where due.segment = 'fo_expired' and expiries.listed_at is null and expiries.expiry_date < clock.today
    union all
    select 7, due.place, due.segment, 'expired', contracts.trading_symbol, contracts.instrument_id,
        contracts.instrument_key, '1m', contracts.window_start, contracts.window_end
    from due
    cross join {{ all_rows_of(ref('upstox_expired_contracts')) }} as contracts
    where due.segment = 'fo_expired' and contracts.asked_at is null
)

select
    stage, segment, kind, subject, instrument_id, instrument_key, timeframe, window_start, window_end
from calls
where exists (select from due)
order by stage, place, case when stage > 5 then window_end end, subject, instrument_key, window_start
