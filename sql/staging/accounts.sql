-- MT5 accounts: the register, and the replies of the API.

-- The accounts to poll: written by `tradehouse accounts`, or by another program that knows the customers.
create table if not exists accounts.registered_accounts (
    id text primary key,
    login_number bigint,
    broker_name text,
    is_active boolean not null default true,
    created_at timestamptz not null default now()
);

-- Whether a text is an offset from UTC such as +02:00, or a time zone that Postgres knows, such as EET.
create or replace function staging.is_time_zone(text) returns boolean
language plpgsql immutable
as $$
begin
    if $1 ~ '^[+-](0\d|1[0-5]):[0-5]\d$' then
        return true;
    end if;
    perform timestamp '2025-01-01' at time zone $1;
    return $1 ~ '^[A-Za-z]';  -- Postgres takes -2 and UTC+2 with the opposite sign
exception when invalid_parameter_value then
    return false;
end
$$;

-- `server_utc_offset`: the broker's clock, where the API sends its times as if they were UTC; NULL: times are as sent.
alter table accounts.registered_accounts add column if not exists server_utc_offset text;
do $$
begin
    if not exists (
        select from pg_constraint
        where conrelid = 'accounts.registered_accounts'::regclass and conname = 'server_utc_offset_is_a_time_zone'
    ) then
        -- not valid: what stands there already is not judged
        alter table accounts.registered_accounts
            add constraint server_utc_offset_is_a_time_zone check (staging.is_time_zone(server_utc_offset)) not valid,
            -- a path with such a part is another path
            add constraint id_can_be_asked_for check (btrim(id) not in ('', '.', '..')) not valid;
    end if;
end
$$;

-- The API's reply about each account, unchanged.
create table if not exists staging.mt5_account_info (
    account_id text primary key,
    payload jsonb not null,
    extracted_at timestamptz not null
);

-- Each info that differed from the one before, of the last days: `accounts.equity` keeps them.
create table if not exists staging.mt5_equity (
    account_id text not null,
    payload jsonb not null,
    extracted_at timestamptz not null,
    primary key (account_id, extracted_at)
);
create index if not exists mt5_equity_extracted_at on staging.mt5_equity (extracted_at);
-- `ticket` is the position's identifier if it has one: its ticket may change. `is_listed`: whether the newest complete
-- list of the account's positions has it.
create table if not exists staging.mt5_positions (
    account_id text not null,
    ticket text not null,
    payload jsonb not null,
    is_listed boolean not null,
    extracted_at timestamptz not null,
    primary key (account_id, ticket)
);
create index if not exists mt5_positions_extracted_at on staging.mt5_positions (extracted_at);

-- What a row of the history is: `trade` (a finished trade, or a part of one), `deal` (a deal of the terminal: it opens
-- or closes), `canceled` (a deal that the broker took back) or `operation` (money paid in or out, credit, …).
create or replace function staging.mt5_kind(payload jsonb) returns text
language sql immutable
as $$
    select case
        when type in ('13', '14', 'buy_canceled', 'sell_canceled') then 'canceled'
        when type not in ('0', '1') and type ~ (
            '^(\d+|balance|deposit|withdrawal|credit|charge|correction|bonus|interest|tax|commission.*|agent.*'
            || '|dividend.*)$'
        ) then 'operation'
        when coalesce(payload ->> 'symbol', '') = ''
            and (type not in ('0', '1', 'buy', 'sell') or coalesce(payload ->> 'volume', '0') ~ '^0(\.0+)?$')
            then 'operation'
        when payload ->> 'entry' is not null then 'deal'
        else 'trade'
    end
    from (select replace(lower(coalesce(payload ->> 'type', '')), 'deal_type_', '')) as given (type)
$$;

-- What tells parts of a position apart that the history has under one ticket: when each was closed, and its volume.
create or replace function staging.mt5_part(payload jsonb) returns text
language sql immutable
as $$
    select case
        when staging.mt5_kind(payload) <> 'trade' then ''
        else concat_ws(
            ' ',
            coalesce(payload ->> 'close_time', payload ->> 'time_close'),
            trim_scale((payload ->> 'volume')::numeric)
        )
    end
$$;

-- The position that a row of the history is about; NULL for an operation.
create or replace function staging.mt5_position(payload jsonb, ticket text) returns text
language sql immutable
as $$
    select case
        when staging.mt5_kind(payload) <> 'operation' then coalesce(
            nullif(payload ->> 'position_id', '0'), nullif(payload ->> 'identifier', '0'), ticket
        )
    end
$$;

-- `landed_at` is the first `extracted_at` of the row; corrections do not change it.
create table if not exists staging.mt5_history (
    account_id text not null,
    ticket text not null,
    payload jsonb not null,
    landed_at timestamptz not null,
    extracted_at timestamptz not null,
    part text not null default '',
    primary key (account_id, ticket, part)
);

-- Warehouses of before: positions were keyed by ticket, and a ticket of the history had one row.
do $$
begin
    if not exists (
        select from pg_attribute where attrelid = 'staging.mt5_history'::regclass and attname = 'part'
    ) then
        alter table staging.mt5_history add column part text not null default '';
        update staging.mt5_history set part = staging.mt5_part(payload);
        alter table staging.mt5_history
            drop constraint mt5_history_pkey, add primary key (account_id, ticket, part);
    end if;
    if not exists (
        select from pg_attribute where attrelid = 'staging.mt5_positions'::regclass and attname = 'opened_volume'
    ) then
        alter table staging.mt5_positions
            -- at least so many lots have been opened of it, as far as the lists and the history tell
            add column opened_volume numeric,
            -- the newest list before its volume became smaller for the first time: parts were closed after it
            add column shrunk_after timestamptz;
        alter table staging.mt5_positions drop constraint mt5_positions_pkey;
        update staging.mt5_positions
        set opened_volume = (payload ->> 'volume')::numeric,
            ticket = coalesce(
                substring(payload ->> 'identifier' from '^0*[1-9][0-9]*$'),
                substring(payload ->> 'position_id' from '^0*[1-9][0-9]*$'),
                ticket
            );
        -- of a position that was under several tickets, the newest row
        delete from staging.mt5_positions as known
        using staging.mt5_positions as newer
        where newer.account_id = known.account_id and newer.ticket = known.ticket
            and (newer.is_listed, newer.extracted_at, newer.ctid) > (known.is_listed, known.extracted_at, known.ctid);
        alter table staging.mt5_positions add primary key (account_id, ticket);
    end if;
end
$$;
alter table staging.mt5_history add column if not exists position_key text
    generated always as (staging.mt5_position(payload, ticket)) stored;
create index if not exists mt5_history_extracted_at on staging.mt5_history (extracted_at);
create index if not exists mt5_history_position_key on staging.mt5_history (account_id, position_key);
create index if not exists mt5_history_landed_at on staging.mt5_history (account_id, landed_at);
drop index if exists staging.mt5_history_position_ticket;
