-- MT5 accounts: the register, the replies of the API, and the result of each poll.

-- The accounts to poll: written by `tradehouse accounts`, or by another program that knows the customers.
create table if not exists accounts.registered_accounts (
    id text primary key,
    login_number bigint,
    broker_name text,
    is_active boolean not null default true,
    created_at timestamptz not null default now()
);

-- The API's reply about each account, unchanged.
create table if not exists staging.mt5_account_info (
    account_id text primary key,
    payload jsonb not null,
    extracted_at timestamptz not null
);

-- `is_listed`: whether the newest complete list of the account's positions has it.
create table if not exists staging.mt5_positions (
    account_id text not null,
    ticket text not null,
    payload jsonb not null,
    is_listed boolean not null,
    extracted_at timestamptz not null,
    primary key (account_id, ticket)
);
create index if not exists mt5_positions_extracted_at on staging.mt5_positions (extracted_at);

-- `position_ticket` is the ticket of the position the trade closed; several trades may each close a part of one.
-- `landed_at` is the first `extracted_at` of the row; corrections do not change it.
create table if not exists staging.mt5_history (
    account_id text not null,
    ticket text not null,
    payload jsonb not null,
    position_ticket text not null generated always as (coalesce(payload ->> 'position_id', ticket)) stored,
    landed_at timestamptz not null,
    extracted_at timestamptz not null,
    primary key (account_id, ticket)
);
create index if not exists mt5_history_extracted_at on staging.mt5_history (extracted_at);
create index if not exists mt5_history_position_ticket on staging.mt5_history (account_id, position_ticket);

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
create index if not exists mt5_sync_results_extracted_at on staging.mt5_sync_results (extracted_at);
create index if not exists mt5_sync_results_started_at on staging.mt5_sync_results (started_at);

-- Where an account's next poll begins; written in the same transaction as the rows. To read an account's history again
-- from the start, delete its row.
create table if not exists staging.mt5_account_marks (
    account_id text primary key,
    attempted_at timestamptz not null,
    history_until timestamptz
);
