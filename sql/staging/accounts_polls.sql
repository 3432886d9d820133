-- MT5 accounts: the result of each poll, and where the next one begins.

-- The result of each account in each run.
create table if not exists staging.mt5_sync_results (
    run_id bigint not null,
    account_id text not null,
    sync_type text not null,
    started_at timestamptz not null,
    completed_at timestamptz not null,
    status text not null,
    trades_synced integer not null,
    error_message text,
    extracted_at timestamptz not null,
    primary key (account_id, run_id)
);
-- the run's id in logs and summaries
alter table staging.mt5_sync_results add column if not exists execution_id uuid;
create index if not exists mt5_sync_results_extracted_at on staging.mt5_sync_results (extracted_at);
create index if not exists mt5_sync_results_started_at on staging.mt5_sync_results (started_at);

-- Where an account's next poll begins; written in the same transaction as the rows. To read an account's history again
-- from the start, delete its row.
create table if not exists staging.mt5_account_marks (
    account_id text primary key,
    attempted_at timestamptz not null,
    history_until timestamptz
);
alter table staging.mt5_account_marks
    -- the batch of the newest complete list of positions
    add column if not exists listed_at timestamptz,
    -- the poll that read the balance last
    add column if not exists balance_at timestamptz,
    -- written before a poll: the newest poll whose balance the history explained, and what is left of that balance
    -- without all that the history tells
    add column if not exists explained_at timestamptz,
    add column if not exists opening_balance numeric,
    -- the broker's clock with which the account's rows were computed last
    add column if not exists server_utc_offset text,
    -- a history that was not read to its end: what was asked for, and how many of its rows have been read
    add column if not exists history_from timestamptz,
    add column if not exists history_to timestamptz,
    add column if not exists history_offset integer;
