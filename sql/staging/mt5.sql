-- Candles: how each symbol fares, and what is left of pruned bars. The landing tables of bars follow the list of their
-- columns: extract/schema.py makes them.

create table if not exists ops.sync_symbols (
    symbol text primary key,
    status text not null,
    source_table text,
    source_newest timestamptz,
    last_change_at timestamptz,
    last_error text,
    last_error_at timestamptz
);

-- What staging no longer keeps: a digest of each bar, by which a later change of it in the file is still seen.
create table if not exists ops.pruned_bars (
    symbol text not null,
    timestamp bigint not null,
    digest bytea not null,
    primary key (symbol, timestamp)
);
