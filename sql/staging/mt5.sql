-- Candles: the state of each symbol, and digests of pruned bars. extract/schema.py makes the landing tables of bars
-- from the list of columns.

create table if not exists ops.sync_symbols (
    symbol text primary key,
    status text not null,
    source_table text,
    source_newest timestamptz,
    last_change_at timestamptz,
    last_error text,
    last_error_at timestamptz
);

-- A digest of each bar that staging no longer keeps, so that a later change of it in the file is still found.
create table if not exists ops.pruned_bars (
    symbol text not null,
    timestamp bigint not null,
    digest bytea not null,
    primary key (symbol, timestamp)
);
