-- Upstox: instruments and replies about candles as they came, and what tells how far each has been read.

-- Each row of the instrument masters and of the lists of expired contracts, unchanged. `expiry` is as Upstox sent it,
-- empty without one: a key of F&O is used again once its contract has expired.
create table if not exists staging.upstox_instruments (
    instrument_key text not null,
    expiry text not null,
    master text not null,
    payload jsonb not null,
    is_listed boolean not null,
    extracted_at timestamptz not null,
    primary key (instrument_key, expiry)
);
create index if not exists upstox_instruments_extracted_at on staging.upstox_instruments (extracted_at);

-- Which instrument a key stands for, and from when to when. Upstox's keys change with an ISIN and are used again, so
-- each instrument has a number of its own. It is given once, here. `expiry_date` is infinity without one, `last_seen`
-- the day on which the key left the master, `linked_from` the key whose number this one took over.
create sequence if not exists staging.upstox_instrument_ids;
create table if not exists staging.upstox_keys (
    instrument_key text not null,
    expiry_date date not null,
    instrument_id bigint not null,
    first_seen date not null,
    last_seen date,
    linked_from text,
    extracted_at timestamptz not null,
    primary key (instrument_key, expiry_date)
);
create index if not exists upstox_keys_instrument_id on staging.upstox_keys (instrument_id);
create index if not exists upstox_keys_extracted_at on staging.upstox_keys (extracted_at);

-- Lot sizes of a contract, each from the day on which it was first seen.
create table if not exists staging.upstox_lots (
    instrument_id bigint not null,
    since date not null,
    lot_size integer not null,
    extracted_at timestamptz not null,
    primary key (instrument_id, since)
);
create index if not exists upstox_lots_extracted_at on staging.upstox_lots (extracted_at);

-- One row for each window of one instrument's candles that was asked for, with the candles of the reply, column by
-- column: a month of minutes is one row, which compresses well and is read fast. A window without candles stays, so
-- that it is not asked again for ever. `asked_at` is when it was last asked, `extracted_at` when its reply last
-- differed. `days` are the days (IST) with candles. `is_stale`: history was adjusted, so the window has to be read
-- again. A window of kind `intraday` is provisional and goes when history has its day.
create table if not exists staging.upstox_windows (
    instrument_id bigint not null,
    timeframe text not null,
    kind text not null,
    window_start date not null,
    window_end date not null,
    instrument_key text not null,
    timestamps timestamptz[] not null,
    open double precision[] not null,
    high double precision[] not null,
    low double precision[] not null,
    close double precision[] not null,
    volume bigint[] not null,
    oi bigint[] not null,
    days date[] not null,
    first_at timestamptz,
    last_at timestamptz,
    asked_at timestamptz not null,
    is_stale boolean not null default false,
    extracted_at timestamptz not null,
    primary key (instrument_id, timeframe, kind, window_start)
);
create index if not exists upstox_windows_extracted_at on staging.upstox_windows (extracted_at);
create index if not exists upstox_windows_asked_at on staging.upstox_windows (asked_at);

-- The expiries of which Upstox keeps expired contracts, and when each was read in full; NULL if it was not yet.
create table if not exists staging.upstox_expiries (
    underlying_key text not null,
    expiry_date date not null,
    listed_at timestamptz,
    completed_at timestamptz,
    primary key (underlying_key, expiry_date)
);

-- Days of the exchanges' calendar, as Upstox sent them. They only predict: what was a session, the candles tell.
create table if not exists staging.upstox_holidays (
    day date primary key,
    payload jsonb not null,
    extracted_at timestamptz not null
);

-- When each part was last read in full: a segment, a master, the calendar.
create table if not exists staging.upstox_parts (
    part text primary key,
    completed_at timestamptz not null
);

-- How many candles there are of an instrument on a day (IST), kept by triggers on market.candle_data. So whatever is
-- written or deleted there, by whomever, this is right, and nobody counts 10^8 candles.
create table if not exists market.coverage (
    instrument_id bigint not null,
    timeframe text not null,
    day date not null,
    candles integer not null,
    volume bigint not null,
    first_at timestamptz not null,
    last_at timestamptz not null,
    primary key (instrument_id, timeframe, day)
);
