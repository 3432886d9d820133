"""A warehouse of the first edition: tables gain their columns, rows stay what they are about, and nothing is lost."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.support.accounts_world import AccountsWorld
from tests.support.fake_mt5 import info, position, trade
from tests.support.mt5_items import operation

OLD_TABLES = """
    drop table staging.mt5_account_info, staging.mt5_equity, staging.mt5_positions, staging.mt5_history,
        staging.mt5_sync_results, staging.mt5_account_marks cascade;
    drop schema accounts cascade;
    create schema accounts;
    create table accounts.registered_accounts (
        id text primary key, login_number bigint, broker_name text, is_active boolean not null default true,
        created_at timestamptz not null default now()
    );
    create table staging.mt5_account_info (
        account_id text primary key, payload jsonb not null, extracted_at timestamptz not null
    );
    create table staging.mt5_positions (
        account_id text not null, ticket text not null, payload jsonb not null, is_listed boolean not null,
        extracted_at timestamptz not null, primary key (account_id, ticket)
    );
    create table staging.mt5_history (
        account_id text not null, ticket text not null, payload jsonb not null,
        position_ticket text not null generated always as (coalesce(payload ->> 'position_id', ticket)) stored,
        landed_at timestamptz not null, extracted_at timestamptz not null, primary key (account_id, ticket)
    );
    create index mt5_history_position_ticket on staging.mt5_history (account_id, position_ticket);
    create table staging.mt5_sync_results (
        run_id bigint not null, account_id text not null, sync_type text not null, started_at timestamptz not null,
        completed_at timestamptz not null, status text not null, trades_synced integer not null, error_message text,
        extracted_at timestamptz not null, primary key (account_id, run_id)
    );
    create table staging.mt5_account_marks (
        account_id text primary key, attempted_at timestamptz not null, history_until timestamptz
    );
    create table accounts.trading_accounts (
        account_id text not null primary key, balance numeric, equity numeric, margin numeric, free_margin numeric,
        margin_level numeric, currency text, leverage numeric, last_sync_at timestamptz not null,
        last_successful_sync_at timestamptz, sync_failure_count integer not null, last_connection_error text,
        synced_at timestamptz not null
    );
    create table accounts.trades (
        account_id text not null, ticket text not null, symbol text, type text, volume numeric, open_price numeric,
        open_time timestamptz, stop_loss numeric, take_profit numeric, current_price numeric, close_price numeric,
        close_time timestamptz, profit numeric, swap numeric, commission numeric, comment text, status text not null,
        synced_at timestamptz not null, primary key (account_id, ticket)
    );
    create view accounts.sync_logs as
        select run_id as execution_id, account_id, sync_type, started_at, completed_at, status, trades_synced,
            error_message, 1 as duration_ms
        from staging.mt5_sync_results;
    update ops.sync_runs set project_fingerprint = 'of before' where source = 'accounts';
    comment on schema ops is 'of before';
    insert into accounts.registered_accounts (id, login_number, created_at) values ('a', 5012345, '2026-01-02');
    insert into staging.mt5_sync_results
        values (-1, 'a', 'scheduled', now(), now(), 'success', 5, null, now() - interval '10 minutes');
    insert into staging.mt5_account_marks values ('a', now() - interval '10 minutes', now() - interval '10 minutes');
"""


def test_a_warehouse_of_the_first_edition_goes_on(accounts_world: AccountsWorld) -> None:
    world, now = accounts_world, time.time()
    world.accounts("list")
    world.execute(OLD_TABLES)
    listed = [
        position(1),
        position(2, identifier=20),
        position(4, identifier=33, profit=7.0),  # re-opened: it was 3 before
        position(6, position_id=60),
        position(7, volume=0.6),
    ]
    gone = [position(3, identifier=33), position(8, identifier=0)]
    history = [trade(9, now - 3600), trade(10, now - 7200), trade(101, now - 1800, position_id=7, volume=0.4)]
    for rows, is_listed in ((listed, "true"), (gone, "false")):
        for row in rows:
            _insert(world, "mt5_positions (payload, account_id, ticket, is_listed, extracted_at)", row, is_listed)
    for row in history:
        _insert(world, "mt5_history (payload, account_id, ticket, landed_at, extracted_at)", row, _BEFORE)
    _insert(world, "mt5_account_info (payload, account_id, extracted_at)", info(1000))
    world.execute(
        "insert into accounts.trades (account_id, ticket, volume, status, synced_at)"
        f" select account_id, ticket, 1, 'open', {_BEFORE} from staging.mt5_positions;"
        "insert into accounts.trades (account_id, ticket, symbol, volume, status, synced_at)"
        f" values ('a', '9', 'old', 1, 'closed', {_BEFORE}), ('a', '10', 'old', 1, 'closed', {_BEFORE});"
        f"insert into accounts.trading_accounts values ('a', 1, 1, 1, 1, 1, 'USD', 1, now(), now(), 0, null, {_BEFORE})"
    )
    stamps = "select ticket, extracted_at from staging.mt5_history where account_id = 'a' and ticket < '5'"
    before = world.query(stamps)
    world.fake.account("a", info(1100), listed, [*history, operation(50, 100.0)])
    assert world.poll()["a"]["trades_synced"] == 2, "the deposit, and the position of which a part was closed"

    open_now = dict.fromkeys(("1", "20", "33", "60", "7"), "open")
    assert world.statuses("a") == {**open_now, "8": "closing", "9": "closed", "10": "closed"}
    assert world.trades("a")["33"]["profit"] == 7.0
    assert world.query("select ticket from accounts.balance_operations") == [("50",)]
    assert [row for row in world.query(stamps) if row[0] != "50"] == before, "rows that were there are not new"
    assert world.query("select ticket, opened_volume from staging.mt5_positions where ticket = '7'") == [("7", 1)]
    assert world.query("select id, login_number, is_active, balance from accounts.trading_accounts") == [
        ("a", 5012345, True, 1100)
    ]
    assert world.query("select run_id, status from accounts.sync_logs where run_id < 0") == [(-1, "success")]
    ended = [trade(102, position_id=7, volume=0.6), *(trade(ticket) for ticket in (1, 8, 20, 33, 60))]
    world.fake.account("a", positions=[], history=[*history, operation(50, 100.0), *ended])
    world.poll()
    assert {ticket: (row["status"], row["volume"]) for ticket, row in world.trades("a").items()} == dict.fromkeys(
        ("1", "7", "8", "9", "10", "20", "33", "60"), ("closed", 1.0)
    )
    world.accounts("sync", "--test")


_BEFORE = "now() - interval '10 minutes'"


def _insert(world: AccountsWorld, target: str, payload: dict[str, Any], *values: str) -> None:
    ticket = [f"'{payload['ticket']}'"] if "ticket" in payload else []
    row = ", ".join([f"'{json.dumps(payload)}'", "'a'", *ticket, *values, _BEFORE])
    world.execute(f"insert into staging.{target} values ({row})")
