"""The role of the HTTP API: it reads what the API answers from, and writes nothing but that a key was used."""

from __future__ import annotations

import hashlib

import pytest

from tests.support.bybit_world import BybitWorld
from tests.support.collector import SYMBOLS, series
from tests.support.tenants import SCRIPT, Tenants, count, may_not, run_as
from tests.support.world import World

MONDAY = 1_736_121_600  # 2025-01-06 00:00 UTC

READS = (
    "eurusd_h1",
    "candles",
    "api.tiers",
    *(f"ops.{name}" for name in ("api_keys", "sync_runs", "sync_symbols", "rejected_rows")),
    *(f"ops.{name}" for name in ("sync_health", "source_health", "candle_tables", "rejected_bars", "market_hours")),
)
ANSWERS = (
    "api.symbols('PRO')",
    "api.timeframes('PRO')",
    "api.indicators_health()",
    "api.sqlite_health()",
    "api.sync_status()",
    "api.table_stats()",
)
TRADES = (
    "api.trades_summary()",
    "api.trades_completed(10, 0)",
    "api.trades_equity_curve()",
    "api.trades_pnl_by_time()",
    "api.trades_exit_reasons()",
    "api.trades_open_lots()",
)
WRITES_OF_A_LOGIN = (
    "create table public.mine (a int)",
    "create table ops.mine (a int)",
    "create temp table mine (a int)",
    "create temp view mine as select 1",
    "select 1 as a into temp mine",
    "create view api.mine as select 1",
    "create function api.mine() returns int language sql as 'select 1'",
    "create function public.mine() returns int language sql as 'select 1'",
    "create type public.mine as (a int)",
    "create sequence public.mine",
    "create schema mine",
    "create role mine",
    "copy (select 1) to '/tmp/mine'",
    "copy (select 1) to program 'true'",
    "select lo_create(0)",
    "select lo_creat(-1)",
    "select lo_from_bytea(0, 'x')",
    "select lo_import('/etc/hostname')",
    "select pg_read_file('/etc/hostname')",
    "set role tradehouse_transformer",
    "set role tradehouse_loader",
    "set session_replication_role = replica",
)


def _writes(relation: str, column: str) -> list[str]:
    """Every statement that writes to a table or locks its rows."""
    return [
        f"insert into {relation} default values",
        f"update {relation} set {column} = {column}",
        f"delete from {relation}",
        f"truncate {relation}",
        f"copy {relation} from stdin",
        f"select * from {relation} for update",
        f"select * from {relation} for key share",
        f"lock table {relation} in row exclusive mode",
        f"alter table {relation} add column mine int",
        f"drop table {relation}",
        f"comment on table {relation} is 'mine'",
    ]


def _tables(uri: str) -> list[tuple[str, str]]:
    """Every table outside the catalog, with one of its columns."""
    rows = run_as(
        uri,
        "select c.oid::regclass::text, min(quote_ident(a.attname)) from pg_class as c join pg_attribute as a"
        " on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped"
        " where c.relkind = 'r' and c.relnamespace::regnamespace::text !~ '^(pg_|information_schema)'"
        " group by c.oid order by 1",
    )
    return [(str(relation), str(column)) for relation, column in rows]


def test_the_api_reads_what_it_answers_from_and_writes_nothing(world: World, tenants: Tenants) -> None:
    world.uri = tenants.pipeline
    world.collector.load_many("EURUSD", series(MONDAY, 30))
    world.sync()
    key = world.run("api-keys", "add", "charts", "--tier", "PRO").stdout.strip()
    run_as(tenants.superuser, SCRIPT.read_text(encoding="utf-8"))  # which only then can lock large objects

    for relation in READS:
        assert count(tenants.api, relation) == count(tenants.pipeline, relation)
    for call in ANSWERS:
        [(answer,)] = run_as(tenants.api, f"select {call}")
        assert isinstance(answer, dict)
        assert answer["success"] is True
    assert run_as(tenants.api, "select count(newest_bar), count(expected_bar) from ops.sync_health") == [(9, 135)]

    may_not(tenants.api, "select * from staging.eurusd", "select * from staging.stg_mt5__eurusd")

    tables = _tables(tenants.superuser)
    assert {"eurusd_h1", "ops.api_keys", "ops.sync_runs", "staging.eurusd", "api.tiers"} <= dict(tables).keys()
    # of 135 tables and 15 landing tables that are made alike, one each; of all others every one
    alike = {name for name, _ in tables if name.split("_")[0].removeprefix("staging.").upper() in SYMBOLS}
    for relation, column in tables:
        if relation not in alike or relation in {"eurusd_h1", "staging.eurusd"}:
            may_not(tenants.api, *_writes(relation, column))
    writable = (
        "select count(*) from pg_class as c where relkind in ('r', 'v', 'S', 'p', 'm')"
        " and relnamespace::regnamespace::text !~ '^(pg_|information_schema)'"
        " and case relkind when 'S' then has_sequence_privilege(c.oid, 'usage, update')"
        " else has_table_privilege(c.oid, 'insert, update, delete, truncate, references, trigger')"
        " or has_any_column_privilege(c.oid, 'insert, update, references') end"
    )
    assert run_as(tenants.api, writable) == [(0,)]
    [(found,)] = run_as(tenants.pipeline, writable)
    assert isinstance(found, int)
    assert found > 150

    may_not(tenants.api, *WRITES_OF_A_LOGIN)
    may_not(
        tenants.api,
        "select ops.refresh(array['eurusd_h1'])",
        "select refresh.eurusd_h1()",
        "alter function ops.touch_api_key(bytea) owner to current_user",
        "create or replace function ops.touch_api_key(bytea) returns void language sql as 'select'",
    )

    # the one thing that it writes, and nobody else does by that function
    digest = f"'\\x{hashlib.sha256(key.encode()).hexdigest()}'"
    before = run_as(tenants.pipeline, "select name, tier, expires_at, revoked_at, created_at from ops.api_keys")
    run_as(tenants.api, f"select ops.touch_api_key({digest})")
    assert count(tenants.pipeline, "ops.api_keys where last_used_at > now() - interval '2 minutes'") == 1
    assert run_as(tenants.pipeline, "select name, tier, expires_at, revoked_at, created_at from ops.api_keys") == before
    for login in (tenants.reader, tenants.customers):
        may_not(login, f"select ops.touch_api_key({digest})", "select * from ops.api_keys", "create temp table a ()")
    may_not(tenants.reader, "select api.sync_status()")


@pytest.mark.parametrize("first", ["roles", "function"])
def test_the_api_may_touch_keys_whichever_was_made_first(tenants: Tenants, world: World, first: str) -> None:
    world.uri = tenants.pipeline
    assert world.run("warehouse", "init").returncode == 0
    if first == "function":
        run_as(tenants.pipeline, "revoke execute on function ops.touch_api_key(bytea) from tradehouse_api")
        may_not(tenants.api, "select ops.touch_api_key('x')")
        run_as(tenants.owner, SCRIPT.read_text(encoding="utf-8"))
    run_as(tenants.api, "select ops.touch_api_key('x')")


def test_the_api_answers_about_trades_and_the_reader_does_too(bybit_world: BybitWorld, tenants: Tenants) -> None:
    bybit_world.uri = tenants.pipeline
    bybit_world.backfill()
    for call in TRADES:
        for login in (tenants.api, tenants.reader):
            [(answer,)] = run_as(login, f"select {call}")
            assert isinstance(answer, dict)
            assert answer["success"] is True
