-- Bybit: executions as they came, and how far they have been read.

-- Fills, funding and all else that Bybit lists as executions, unchanged. `account_uid` is Bybit's number of the
-- account, after `testnet-` or `demo-` where it is none of the main site. '' stands for rows that landed before
-- accounts had names; the next run gives them the account of its key.
create table if not exists staging.bybit_executions (
    account_uid text not null,
    exec_id text not null,
    category text not null,
    exec_time timestamptz not null,
    payload jsonb not null,
    extracted_at timestamptz not null,
    primary key (account_uid, exec_id)
);
-- How far the executions of each week have been read; written in the same transaction as the rows. Weeks count from
-- 1970-01-01 00:00 UTC. To read everything again, truncate this table.
create table if not exists staging.bybit_windows (
    account_uid text not null,
    category text not null,
    window_start timestamptz not null,
    read_until timestamptz not null,
    primary key (account_uid, category, window_start)
);
do $$
begin
    if not exists (
        select from pg_attribute
        where attrelid = 'staging.bybit_executions'::regclass and attname = 'account_uid' and not attisdropped
    ) then
        alter table staging.bybit_executions
            add column account_uid text not null default '',
            drop constraint bybit_executions_pkey,
            add primary key (account_uid, exec_id);
        alter table staging.bybit_executions alter column account_uid drop default;
        alter table staging.bybit_windows
            add column account_uid text not null default '',
            drop constraint bybit_windows_pkey,
            add primary key (account_uid, category, window_start);
        alter table staging.bybit_windows alter column account_uid drop default;
    end if;
end
$$;
create index if not exists bybit_executions_extracted_at on staging.bybit_executions (extracted_at);
create index if not exists bybit_executions_account_time
on staging.bybit_executions (account_uid, category, exec_time);
drop index if exists staging.bybit_executions_category_time;
create index if not exists bybit_executions_funding on staging.bybit_executions (account_uid, category, exec_time)
where payload ->> 'execType' = 'Funding';

-- What a coin cost in USDT at the start of a day (UTC), for fees in a coin of their own.
create table if not exists staging.bybit_prices (
    coin text not null,
    day date not null,
    price numeric not null,
    extracted_at timestamptz not null,
    primary key (coin, day)
);

-- Of a run: the bot that --bot named, and how many trades are new or restated.
create table if not exists staging.bybit_runs (
    run_id bigint primary key,
    bot_id text,
    trades_synced bigint not null
);

-- Older warehouses had Bybit's position rule here; it is now dbt's function staging.bybit_book.
drop type if exists staging.bybit_step cascade;
