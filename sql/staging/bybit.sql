-- Bybit: executions as they came, and how far they have been read.

-- Fills, funding and all else that Bybit lists as executions, unchanged.
create table if not exists staging.bybit_executions (
    exec_id text primary key,
    category text not null,
    exec_time timestamptz not null,
    payload jsonb not null,
    extracted_at timestamptz not null
);
create index if not exists bybit_executions_extracted_at on staging.bybit_executions (extracted_at);
create index if not exists bybit_executions_category_time on staging.bybit_executions (category, exec_time);

-- How far the executions of each week have been read; written in the same transaction as the rows. Weeks count from
-- 1970-01-01 00:00 UTC. To read everything again, truncate this table.
create table if not exists staging.bybit_windows (
    category text not null,
    window_start timestamptz not null,
    read_until timestamptz not null,
    primary key (category, window_start)
);

-- Older warehouses had Bybit's position rule here; it is now dbt's function staging.bybit_book.
drop type if exists staging.bybit_step cascade;
