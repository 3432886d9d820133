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
create or replace function staging.upstox_identify(stamp timestamptz)
returns table (new_key text, old_key text)
language plpgsql
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
    select
        added.instrument_key, added.expiry_date,
        coalesce(live.instrument_id, former.instrument_id, nextval('staging.upstox_instrument_ids')),
        today, case when not added.is_listed then today end, former.instrument_key, stamp
    from (
        select *, staging.upstox_expiry_date(expiry) as expiry_date
        from staging.upstox_instruments
        where extracted_at = stamp
    ) as added
    left join staging.upstox_keys as live
        on live.instrument_key = regexp_replace(added.instrument_key, '\|\d\d-\d\d-\d{4}$', '')
            and live.instrument_key <> added.instrument_key
            and live.expiry_date = added.expiry_date
    left join lateral (
        select gone.instrument_id, gone.instrument_key
        from staging.upstox_keys as gone
        inner join staging.upstox_instruments as old
            on old.instrument_key = gone.instrument_key and old.expiry = ''
        where gone.extracted_at = stamp and gone.last_seen = today and gone.expiry_date = 'infinity'
            and old.extracted_at = stamp and not old.is_listed
            and (old.payload ->> 'exchange', old.payload ->> 'segment', old.payload ->> 'trading_symbol')
            = (added.payload ->> 'exchange', added.payload ->> 'segment', added.payload ->> 'trading_symbol')
        order by gone.instrument_key
        limit 1
    ) as former on added.expiry = ''
    where added.expiry_date is not null
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
    left join lateral (
        select lot_size
        from staging.upstox_lots
        where instrument_id = keys.instrument_id
        order by since desc
        limit 1
    ) as newest on true
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
