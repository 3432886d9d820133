-- Upstox: the triggers that keep market.coverage. dbt's hook of candle_data sets them on the table, and on each
-- partition for statements that name it. The argument is the partition's month.

-- Count again the days that a statement touched. It locks them first, so that it counts what others have committed.
create or replace function market.recount(instruments bigint[], timeframes text[], days date[]) returns void
language plpgsql
as $$
#variable_conflict use_column
begin
    insert into market.coverage (instrument_id, timeframe, day, candles, volume, first_at, last_at)
    select instrument_id, timeframe, day, 0, 0, 'infinity', 'infinity'
    from unnest(instruments, timeframes, days) as touched (instrument_id, timeframe, day)
    order by instrument_id, timeframe, day
    on conflict (instrument_id, timeframe, day) do update set candles = 0;

    update market.coverage as known
    set candles = found.candles, volume = found.volume, first_at = found.first_at, last_at = found.last_at
    from unnest(instruments, timeframes, days) as touched (instrument_id, timeframe, day)
    cross join lateral (
        select
            count(*) as candles, sum(volume) as volume, min(timestamp) as first_at, max(timestamp) as last_at
        from market.candle_data
        where candle_data.instrument_id = touched.instrument_id
            and candle_data.timeframe = touched.timeframe
            and candle_data.timestamp >= touched.day::timestamp at time zone 'Asia/Kolkata'
            and candle_data.timestamp < (touched.day + 1)::timestamp at time zone 'Asia/Kolkata'
    ) as found
    where known.instrument_id = touched.instrument_id
        and known.timeframe = touched.timeframe
        and known.day = touched.day
        and found.candles > 0;

    delete from market.coverage
    using unnest(instruments, timeframes, days) as touched (instrument_id, timeframe, day)
    where coverage.instrument_id = touched.instrument_id
        and coverage.timeframe = touched.timeframe
        and coverage.day = touched.day
        and coverage.candles = 0;
end
$$;

create or replace function market.keep_coverage() returns trigger
language plpgsql
as $$
begin
    if tg_op = 'TRUNCATE' then
        perform market.recount(array_agg(instrument_id), array_agg(timeframe), array_agg(day))
        from market.coverage
        where tg_argv[0] is null
            or day between to_date(tg_argv[0], 'YYYY_MM') - 1 and to_date(tg_argv[0], 'YYYY_MM') + interval '1 month';
        return null;
    end if;
    perform market.recount(array_agg(instrument_id), array_agg(timeframe), array_agg(day))
    from (
        select distinct instrument_id, timeframe, (timestamp at time zone 'Asia/Kolkata')::date as day
        from touched_rows
    ) as touched;
    return null;
end
$$;
