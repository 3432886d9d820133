-- TimescaleDB, optional: makes the candle tables hypertables of a few chunks each, compressed if you ask for it.
-- Repeatable; run it after the first sync, and again when dbt has added or rebuilt tables:
--
--     psql "$POSTGRESQL_URI" -v ON_ERROR_STOP=1 -f sql/timescaledb_setup.sql
--
-- Run it as the login that owns the tables, or as a superuser. If TimescaleDB is missing, not preloaded, or this login
-- may not create it, a notice says so and the tables stay plain. Do not run it inside a transaction (psql -1): each
-- table is committed by itself, so that the pipeline waits for one at a time and a broken run can continue.
--
-- To compress, give an interval: chunks that ended longer ago are compressed. Another interval replaces the first;
-- without one, compression stays as it is.
--
--     PGOPTIONS='-c tradehouse.compress_after=P30D' psql "$POSTGRESQL_URI" -f sql/timescaledb_setup.sql

do $timescaledb_setup$
declare
    compress_after interval := nullif(current_setting('tradehouse.compress_after', true), '');
    -- the schema of TimescaleDB's functions, quoted
    functions text;
    candles record;
    is_changed boolean;
    hypertables integer := 0;
    changed integer := 0;
begin
    if not exists (select from pg_available_extensions where name = 'timescaledb') then
        raise notice 'TimescaleDB is not installed on this server; the candle tables stay plain';
        return;
    end if;
    -- if the library is not preloaded, CREATE EXTENSION and each of its functions end the connection
    if current_setting('timescaledb.max_background_workers', true) is null then
        raise notice 'TimescaleDB is not preloaded; the candle tables stay plain'
            using hint = 'Add timescaledb to shared_preload_libraries and restart the server.';
        return;
    end if;
    if not exists (select from pg_extension where extname = 'timescaledb') then
        begin
            create extension timescaledb schema public;
        exception
            when insufficient_privilege then
                raise notice '% may not create the extension timescaledb; the candle tables stay plain', current_user
                    using hint = 'The owner of the database or a superuser runs: create extension timescaledb';
                return;
        end;
    end if;
    select quote_ident(nspname) into functions
    from pg_extension
    inner join pg_namespace on pg_namespace.oid = extnamespace
    where extname = 'timescaledb';

    if compress_after is not null and current_setting('timescaledb.license') = 'apache' then
        raise notice 'TimescaleDB''s Apache edition cannot compress; tradehouse.compress_after is passed over';
        compress_after := null;
    end if;

    for candles in
        select
            relname as name,
            format('public.%I', relname) as relation,
            chunk_interval,
            (
                select time_interval
                from timescaledb_information.dimensions
                where hypertable_schema = 'public' and hypertable_name = relname
            ) as present_interval,
            (
                select (config ->> 'compress_after')::interval
                from timescaledb_information.jobs
                where hypertable_schema = 'public' and hypertable_name = relname and proc_name = 'policy_compression'
            ) as present_compress_after
        from pg_class
        -- four or five chunks for 10,000 rows; in days, because TimescaleDB takes a year for 360 of them
        inner join (
            values
            ('m5', interval '14 days'),
            ('m15', interval '45 days'),
            ('m30', interval '90 days'),
            ('h1', interval '180 days'),
            ('h2', interval '365 days'),
            ('h4', interval '730 days'),
            ('h8', interval '1460 days'),
            ('h12', interval '2190 days'),
            ('d1', interval '3650 days')
        ) as timeframes (timeframe, chunk_interval) on split_part(relname, '_', -1) = timeframe
        where relnamespace = 'public'::regnamespace
            and relkind = 'r'
            -- others may have a table of the same name in this schema, so check more than the name
            and exists (
                select
                from pg_index
                inner join pg_attribute on attrelid = indrelid and attnum = indkey[0]
                where indrelid = pg_class.oid
                    and indisprimary
                    and indnkeyatts = 1
                    and attname = 'timestamp'
                    and atttypid = 'timestamptz'::regtype
            )
            and exists (
                select
                from pg_attribute
                where attrelid = pg_class.oid and attname = 'synced_at' and atttypid = 'timestamptz'::regtype
            )
        order by relname
    loop
        is_changed := false;
        -- hide TimescaleDB's own notices, one for each table with rows
        set local client_min_messages = 'warning';
        if candles.present_interval is null then
            execute format(
                'select from %s.create_hypertable(%L, ''timestamp'', chunk_time_interval => %L::interval,'
                ' create_default_indexes => false, migrate_data => true)',
                functions, candles.relation, candles.chunk_interval
            );
            is_changed := true;
        elsif candles.present_interval <> candles.chunk_interval then
            execute format(
                'select %s.set_chunk_time_interval(%L, %L::interval)',
                functions, candles.relation, candles.chunk_interval
            );
            is_changed := true;
        end if;
        if candles.present_compress_after is distinct from compress_after and compress_after is not null then
            -- 2.18 gave compression new names
            if to_regproc(functions || '.add_columnstore_policy') is not null then
                execute format(
                    'alter table %s set (timescaledb.enable_columnstore, timescaledb.orderby = ''timestamp desc'')',
                    candles.relation
                );
                execute format('call %s.remove_columnstore_policy(%L, if_exists => true)', functions, candles.relation);
                execute format(
                    'call %s.add_columnstore_policy(%L, after => %L::interval)',
                    functions, candles.relation, compress_after
                );
            else
                execute format(
                    'alter table %s set (timescaledb.compress, timescaledb.compress_orderby = ''timestamp desc'')',
                    candles.relation
                );
                execute format(
                    'select %s.remove_compression_policy(%L, if_exists => true)', functions, candles.relation
                );
                execute format(
                    'select %s.add_compression_policy(%L, compress_after => %L::interval)',
                    functions, candles.relation, compress_after
                );
            end if;
            is_changed := true;
        end if;
        commit;
        hypertables := hypertables + 1;
        changed := changed + is_changed::integer;
    end loop;
    if hypertables = 0 then
        raise notice 'there are no candle tables yet; run tradehouse sync, then this script again';
    else
        raise notice '% hypertables, % changed', hypertables, changed;
    end if;
end
$timescaledb_setup$;
