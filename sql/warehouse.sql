-- What all sources need in the warehouse: schemas, run records, rejects, refreshing, and functions that check values.
-- The files of sql/staging/ follow, one per source. Repeatable. `tradehouse` runs them when something is missing or has
-- changed. If the pipeline's role may not create schemas, an administrator can run them by hand (psql -f).

-- `if not exists` does not work here: it needs the right to create even if the schema exists. If an administrator made
-- the schemas (roles.sql), the pipeline's role does not have that right.
do $$
declare
    wanted text;
begin
    foreach wanted in array array['staging', 'ops', 'trading', 'accounts', 'market', 'signals', 'api', 'refresh'] loop
        if to_regnamespace(wanted) is null then
            execute format('create schema %I', wanted);
        end if;
    end loop;
end
$$;

comment on schema staging is 'What the sources said, landed by tradehouse; dbt reads it.';

create table if not exists ops.sync_runs (
    run_id bigint generated always as identity primary key,
    source text not null,
    command text not null,
    status text not null,
    started_at timestamptz not null,
    extracted_at timestamptz,
    finished_at timestamptz,
    rows_read bigint not null default 0,
    rows_changed bigint not null default 0,
    rows_rejected bigint not null default 0,
    models_built integer not null default 0,
    models_failed integer not null default 0,
    project_fingerprint text,
    error text
);
alter table ops.sync_runs
    add column if not exists range_start timestamptz,
    add column if not exists range_end timestamptz,
    -- when the service expects its next run of this source; NULL if unknown (cron, by hand)
    add column if not exists due_again_at timestamptz,
    add column if not exists backend_pid integer,
    -- when the source's file was last modified, as of this run; NULL for a source that is no file
    add column if not exists source_modified_at timestamptz;
-- The session that writes the record holds the run lock. A record without an end whose session is gone broke off.
alter table ops.sync_runs alter column backend_pid set default pg_backend_pid();
create index if not exists sync_runs_extracted_at on ops.sync_runs (extracted_at);
-- Each run looks these up among a month of records: runs that never ended, and the last build of all models.
create index if not exists sync_runs_unfinished on ops.sync_runs (source) where finished_at is null;
create index if not exists sync_runs_built on ops.sync_runs (run_id) where project_fingerprint is not null;

-- The models of each source as they were last built, parents first. A run refreshes these, and sees from them if
-- somebody has dropped a table or view.
create table if not exists ops.built_models (
    source text not null,
    place integer not null,
    model text not null,
    relation text not null,
    is_incremental boolean not null,
    primary key (source, place)
);

create table if not exists ops.rejected_rows (
    source text not null,
    entity text not null,
    row_key text not null,
    column_name text not null,
    reason text not null,
    original text,
    extracted_at timestamptz not null,
    resolved_at timestamptz,
    primary key (source, entity, row_key, column_name)
);
-- When a person dismissed the reject; it stays resolved until the source sends another value.
alter table ops.rejected_rows add column if not exists dismissed_at timestamptz;

-- What the services have alerted people of: one row per time that a trouble came. A trouble that ends before it was due
-- to be told leaves no row.
create table if not exists ops.alerts (
    source text not null,
    trouble text not null,
    since timestamptz not null,
    reason text not null,
    -- when the first receiver took the message that it came, and the one that it went
    told_at timestamptz,
    cleared_at timestamptz,
    end_told_at timestamptz,
    primary key (source, trouble, since)
);

-- The newest row of a table up to a moment; NULL if the table is missing, empty, or a different one of that name.
create or replace function ops.newest_row(relation text, until timestamptz) returns timestamptz
language plpgsql stable
as $$
declare
    newest timestamptz;
begin
    if to_regclass(relation) is not null then
        execute format('select max(timestamp) from %s where timestamp <= $1', to_regclass(relation))
        into newest using until;
    end if;
    return newest;
exception when undefined_table or undefined_column or undefined_function then
    return null;
end
$$;

-- Settings on which every user of this warehouse must agree.
create table if not exists ops.settings (
    name text primary key,
    value text not null,
    check (name <> 'max_rows_per_table' or value ~ '^[1-9][0-9]{0,8}$')
);

-- How many of its newest rows a candle table keeps. In plpgsql, because Postgres would plan SQL again in every query.
create or replace function ops.max_rows_per_table() returns bigint
language plpgsql stable
as $$
begin
    return coalesce((select value::bigint from ops.settings where name = 'max_rows_per_table'), 10000);
end
$$;

-- Bring models up to date by their refresh functions, which dbt stores in the warehouse, in the order given: parents
-- before children. Each has a subtransaction, so that one failure does not stop the others. All changes become visible
-- when the caller commits. All locks are taken first and in one order, so that two callers cannot deadlock.
create or replace function ops.refresh(models text[])
returns table (model text, rows_written bigint, error text)
language plpgsql
as $$
begin
    perform pg_advisory_xact_lock(key)
    from (
        select distinct hashtextextended('refresh.' || name, 0) as key
        from unnest(models) as name
        order by key
    ) as locks;
    foreach model in array coalesce(models, '{}') loop
        begin
            execute format('select refresh.%I()', model) into rows_written;
            error := null;
        exception when others then
            rows_written := null;
            error := format('%s: %s', sqlstate, sqlerrm);
        end;
        return next;
    end loop;
end
$$;

revoke execute on function ops.refresh(text[]) from public;

-- Text as jsonb; NULL if Postgres does not accept it. The exception block costs 0.4 µs a call if it catches nothing
-- and 10 µs if it does. So from Postgres 16 on, text that is not JSON is sorted out before it, at 0.4 µs.
-- (`pg_input_is_valid` would parse valid text twice.) The block still handles text that is JSON but not jsonb (a NUL
-- character, a number out of range). It also handles long text: lists nested some ten thousand deep raise an error
-- about the stack. Use this with columns: a literal is cast while the query is planned, so an invalid one raises an
-- error.
create or replace function staging.try_jsonb_caught(value text) returns jsonb
language plpgsql stable strict
as 'begin return value::jsonb; exception when others then return null; end';

do $$
begin
    if current_setting('server_version_num')::int >= 160000 then
        create or replace function staging.try_jsonb(value text) returns jsonb
        language sql stable
        as 'select case
            when octet_length(value) > 4000 or value is json then staging.try_jsonb_caught(value)
        end';
    else
        create or replace function staging.try_jsonb(value text) returns jsonb
        language sql stable
        as 'select staging.try_jsonb_caught(value)';
    end if;
end
$$;

-- Text as a time; NULL if it is not one. Text without a time zone is UTC.
create or replace function staging.try_timestamptz(value text) returns timestamptz
language plpgsql stable strict set timezone = 'UTC'
as 'begin return value::timestamptz; exception when others then return null; end';
