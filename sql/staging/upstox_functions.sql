-- Upstox: what the landing and dbt's models both need to know of its values.

-- The day (IST) on which an instrument expires, of Unix milliseconds or of a date; infinity of an empty text, NULL of
-- anything else.
create or replace function staging.upstox_expiry_date(expiry text) returns date
language sql stable
as $$
    select case
        when expiry = '' then 'infinity'::date
        when expiry ~ '^[0-9]{12,13}$' then (to_timestamp(expiry::bigint / 1000) at time zone 'Asia/Kolkata')::date
        when expiry ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$' then (staging.try_timestamptz(expiry) at time zone 'UTC')::date
    end
$$;

-- A number of a candle that is positive, or not negative with `at_least` 0; NULL of anything else.
create or replace function staging.upstox_number(item jsonb, at_least numeric) returns numeric
language sql immutable
as $$
    select case
        when jsonb_typeof(item) = 'number' and (item #>> '{}')::numeric >= at_least and (item #>> '{}')::numeric < 1e15
            then (item #>> '{}')::numeric
    end
$$;

-- Give numbers to the keys that a batch of instruments brought, note which left, and what their lots became. A new key
-- takes over the number of an expired contract's live key, or of a share's key that leaves in the same batch under the
-- same exchange, segment and symbol. Returns the keys linked the second way, which somebody should look at.
-- Without nested loops: before the first ANALYZE Postgres would take them for 200,000 new rows.
create or replace function staging.upstox_identify(stamp timestamptz)
returns table (new_key text, old_key text)
language plpgsql set enable_nestloop = off
as $$
#variable_conflict use_column
declare
    today constant date := (stamp at time zone 'Asia/Kolkata')::date;
begin
    update staging.upstox_keys as known
    set last_seen = case when changed.is_listed then null else today end, extracted_at = stamp
    from staging.upstox_instruments as changed
    where changed.extracted_at = stamp
        and known.instrument_key = changed.instrument_key
        and known.expiry_date = staging.upstox_expiry_date(changed.expiry)
        and changed.is_listed <> (known.last_seen is null);

    insert into staging.upstox_keys as known
        (instrument_key, expiry_date, instrument_id, first_seen, last_seen, linked_from, extracted_at)
    with added as materialized (
        select
            *, staging.upstox_expiry_date(expiry) as expiry_date,
            regexp_replace(instrument_key, '\|\d\d-\d\d-\d{4}$', '') as live_key,
            (payload ->> 'exchange') || ' ' || (payload ->> 'segment') || ' ' || (payload ->> 'trading_symbol') as place
        from staging.upstox_instruments
        where extracted_at = stamp
    ),
    -- keys without an expiry that left in this batch, by their place; of two with one place the first
    gone as materialized (
        select distinct on (added.place) added.place, known.instrument_id, known.instrument_key
        from added
        inner join staging.upstox_keys as known
            on known.instrument_key = added.instrument_key and known.expiry_date = added.expiry_date
        where not added.is_listed and added.expiry = '' and known.extracted_at = stamp
        order by added.place, known.instrument_key
    )
    select
        added.instrument_key, added.expiry_date,
        coalesce(live.instrument_id, gone.instrument_id, nextval('staging.upstox_instrument_ids')),
        today, case when not added.is_listed then today end, gone.instrument_key, stamp
    from added
    left join staging.upstox_keys as live
        on live.instrument_key = added.live_key and live.expiry_date = added.expiry_date
            and added.live_key <> added.instrument_key
    left join gone on gone.place = added.place and added.is_listed and added.expiry = ''
    left join staging.upstox_keys as own
        on own.instrument_key = added.instrument_key and own.expiry_date = added.expiry_date
    where added.expiry_date is not null and own.instrument_key is null
    on conflict (instrument_key, expiry_date) do nothing;

    insert into staging.upstox_lots as known (instrument_id, since, lot_size, extracted_at)
    select distinct on (keys.instrument_id) keys.instrument_id, today, lots.lot_size, stamp
    from staging.upstox_instruments as changed
    cross join lateral (
        select coalesce(
            staging.upstox_number(changed.payload -> 'lot_size', 1), staging.upstox_number(changed.payload -> 'minimum_lot', 1)
        )::integer as lot_size
    ) as lots
    inner join staging.upstox_keys as keys
        on keys.instrument_key = changed.instrument_key
            and keys.expiry_date = staging.upstox_expiry_date(changed.expiry)
    left join (
        select distinct on (instrument_id) instrument_id, lot_size
        from staging.upstox_lots
        order by instrument_id, since desc
    ) as newest on newest.instrument_id = keys.instrument_id
    where changed.extracted_at = stamp and changed.expiry <> ''
        and lots.lot_size is not null and lots.lot_size is distinct from newest.lot_size
    order by keys.instrument_id
    on conflict (instrument_id, since) do update
    set lot_size = excluded.lot_size, extracted_at = excluded.extracted_at;

    return query
    select instrument_key, linked_from from staging.upstox_keys
    where extracted_at = stamp and linked_from is not null and first_seen = today
    order by instrument_key;
end
$$;
