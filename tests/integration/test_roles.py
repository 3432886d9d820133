"""sql/roles.sql: the pipeline runs with no more rights than that gives, and the reader reads and nothing else.

The roles are made by a database owner who is no superuser, which is what most hosting gives one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass

import psycopg2
import psycopg2.errors
import pytest

from tests.conftest import Server
from tests.support.accounts_world import AccountsWorld
from tests.support.bybit_world import BybitWorld
from tests.support.collector import SYMBOLS, series
from tests.support.fake_mt5 import info, position, trade
from tests.support.servers import DEBIAN_PASSWORD, administer
from tests.support.world import ROOT, World

MONDAY = 1_736_121_600  # 2025-01-06 00:00 UTC
DATABASE = "least_privilege"
OWNER, PIPELINE, READER = "roles_owner", "roles_pipeline", "roles_reader"
CUSTOMERS, API = "roles_customers", "roles_api"
GROUPS = (
    "tradehouse_loader",
    "tradehouse_transformer",
    "tradehouse_api",
    "tradehouse_reader",
    "tradehouse_accounts_reader",
)
SCRIPT = ROOT / "sql" / "roles.sql"


def _drop(server: Server) -> None:
    """Roles belong to the server, not to the database: leave none behind."""
    administer(server.uri, [f"drop database if exists {DATABASE} with (force)"])
    for role in (PIPELINE, READER, CUSTOMERS, API, *GROUPS, OWNER):
        # an owner without the right to make roles granted what a plain drop would trip over
        with suppress(psycopg2.errors.UndefinedObject):
            administer(server.uri, [f"drop owned by {role}", f"drop role {role}"])


@dataclass(frozen=True)
class Tenants:
    """The URIs of a database with roles: its owner, the pipeline, the readers, the API, and a superuser."""

    owner: str
    pipeline: str
    reader: str
    customers: str  # reads the schema accounts
    api: str
    superuser: str


def _run(uri: str, sql: str) -> list[tuple[object, ...]]:
    """Run statements in a transaction and return the last one's rows, if it has any."""
    with closing(psycopg2.connect(uri)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        rows = list(cursor.fetchall()) if cursor.description else []
        connection.commit()
    return rows


@pytest.fixture
def tenants(server: Server) -> Iterator[Tenants]:
    """A database whose owner, no superuser, has followed the steps at the head of roles.sql."""
    _drop(server)
    administer(
        server.uri,
        [
            f"create role {OWNER} login createrole password '{DEBIAN_PASSWORD}'",
            f"create database {DATABASE} owner {OWNER}",
        ],
    )

    def uri(role: str) -> str:
        return server.uri.replace("//postgres", f"//{role}").format(database=DATABASE)

    superuser = server.uri.format(database=DATABASE)
    uris = Tenants(uri(OWNER), uri(PIPELINE), uri(READER), uri(CUSTOMERS), uri(API), superuser)
    _run(uris.owner, SCRIPT.read_text(encoding="utf-8"))
    _run(
        uris.owner,
        f"create role {PIPELINE} login password '{DEBIAN_PASSWORD}';"
        f"create role {READER} login password '{DEBIAN_PASSWORD}';"
        f"create role {CUSTOMERS} login password '{DEBIAN_PASSWORD}';"
        f"create role {API} login password '{DEBIAN_PASSWORD}';"
        f"grant tradehouse_loader, tradehouse_transformer to {PIPELINE};"
        f"grant tradehouse_reader to {READER}; grant tradehouse_accounts_reader to {CUSTOMERS};"
        f"grant tradehouse_api to {API}",
    )
    _run(uris.owner, SCRIPT.read_text(encoding="utf-8"))
    try:
        yield uris
    finally:
        _drop(server)


def _count(uri: str, relation: str) -> int:
    [(rows,)] = _run(uri, f"select count(*) from {relation}")
    assert isinstance(rows, int)
    return rows


def _may_not(uri: str, *statements: str) -> None:
    """Demand that each of them is refused for want of a right."""
    for statement in statements:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            _run(uri, statement)


@pytest.mark.only_on("debian")
def test_the_pipeline_runs_and_the_reader_only_reads(world: World, tenants: Tenants) -> None:
    world.uri = tenants.pipeline
    world.collector.load_many("EURUSD", series(MONDAY, 30))

    # (a) the pipeline: neither superuser nor owner, and it may not even create a schema
    [rights] = _run(
        tenants.pipeline,
        "select rolsuper, rolcreatedb, rolcreaterole, has_database_privilege(current_database(), 'create')"
        " from pg_roles where rolname = current_user",
    )
    assert rights == (False, False, False, False)
    done = world.run("warehouse", "init")
    assert done.returncode == 0, done.stdout + done.stderr
    printed = world.sync("--test")
    assert "done in" in printed
    assert ", 0 tests passed" not in printed
    world.check()

    # (b) the reader
    assert _count(tenants.reader, "eurusd_h1") == 3
    assert _count(tenants.reader, "candles") == _count(tenants.pipeline, "candles") > 30
    for relation in ("staging.eurusd", "staging.stg_mt5__eurusd", "ops.sync_runs", "ops.rejected_bars"):
        assert _count(tenants.pipeline, relation) >= 0
        _may_not(tenants.reader, f"select * from {relation}")
    _may_not(
        tenants.reader,
        "update eurusd_h1 set open = 0",
        "delete from eurusd_h1",
        "insert into eurusd_h1 select * from eurusd_h1",
        "truncate eurusd_h1",
        "drop table eurusd_h1",
        "drop view candles",
        "create table public.mine (a int)",
        "create view public.mine as select 1",
        "create table staging.mine (a int)",
        "create schema mine",
        "set role tradehouse_transformer",
    )

    # What is dropped and made again (the view, and a table whose shape was not the contract's) stays readable.
    _run(tenants.pipeline, "alter table eurusd_h1 alter column close drop not null")
    made_before = _run(tenants.pipeline, "select 'eurusd_h1'::regclass::oid, 'candles'::regclass::oid")
    rebuilt = world.dbt("run", "--full-refresh", "--select", "eurusd_h1", "candles")
    assert rebuilt.returncode == 0, rebuilt.stdout
    made_after = _run(tenants.pipeline, "select 'eurusd_h1'::regclass::oid, 'candles'::regclass::oid")
    assert all(before != after for before, after in zip(made_before[0], made_after[0], strict=True))
    assert _count(tenants.reader, "eurusd_h1") == 3
    assert _count(tenants.reader, "candles") > 30

    # Another version of warehouse.sql is brought in with the same rights.
    _run(tenants.pipeline, "comment on schema ops is 'older'; drop index ops.sync_runs_extracted_at")
    world.sync()
    assert _run(tenants.pipeline, "select to_regclass('ops.sync_runs_extracted_at') is not null") == [(True,)]


def test_accounts_are_readable_by_their_own_role_alone(accounts_world: AccountsWorld, tenants: Tenants) -> None:
    world = accounts_world
    world.uri = tenants.pipeline
    world.register("a")
    world.fake.account("a", info(1000), [position(1)], [trade(2)])
    world.poll()
    [(answer,)] = _run(tenants.api, "select api.accounts()")
    assert isinstance(answer, dict)
    assert answer["total_count"] == 1
    _may_not(tenants.reader, "select api.accounts()")
    relations = ("trading_accounts", "trades", "sync_logs", "account_success_rates", "registered_accounts")
    for relation in relations:
        assert _count(tenants.customers, f"accounts.{relation}") > 0
        _may_not(tenants.reader, f"select * from accounts.{relation}")
    _may_not(
        tenants.customers,
        "select * from staging.mt5_history",
        "select * from ops.sync_runs",
        "update accounts.registered_accounts set is_active = false",
        "delete from accounts.trades",
        "create table accounts.mine (a int)",
    )


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
    rows = _run(
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
    _run(tenants.superuser, SCRIPT.read_text(encoding="utf-8"))  # which only then can lock large objects

    for relation in READS:
        assert _count(tenants.api, relation) == _count(tenants.pipeline, relation)
    for call in ANSWERS:
        [(answer,)] = _run(tenants.api, f"select {call}")
        assert isinstance(answer, dict)
        assert answer["success"] is True
    assert _run(tenants.api, "select count(newest_bar), count(expected_bar) from ops.sync_health") == [(9, 135)]

    _may_not(tenants.api, "select * from staging.eurusd", "select * from staging.stg_mt5__eurusd")

    tables = _tables(tenants.superuser)
    assert {"eurusd_h1", "ops.api_keys", "ops.sync_runs", "staging.eurusd", "api.tiers"} <= dict(tables).keys()
    # of 135 tables and 15 landing tables that are made alike, one each; of all others every one
    alike = {name for name, _ in tables if name.split("_")[0].removeprefix("staging.").upper() in SYMBOLS}
    for relation, column in tables:
        if relation not in alike or relation in {"eurusd_h1", "staging.eurusd"}:
            _may_not(tenants.api, *_writes(relation, column))
    writable = (
        "select count(*) from pg_class as c where relkind in ('r', 'v', 'S', 'p', 'm')"
        " and relnamespace::regnamespace::text !~ '^(pg_|information_schema)'"
        " and case relkind when 'S' then has_sequence_privilege(c.oid, 'usage, update')"
        " else has_table_privilege(c.oid, 'insert, update, delete, truncate, references, trigger')"
        " or has_any_column_privilege(c.oid, 'insert, update, references') end"
    )
    assert _run(tenants.api, writable) == [(0,)]
    [(found,)] = _run(tenants.pipeline, writable)
    assert isinstance(found, int)
    assert found > 150

    _may_not(tenants.api, *WRITES_OF_A_LOGIN)
    _may_not(
        tenants.api,
        "select ops.refresh(array['eurusd_h1'])",
        "select refresh.eurusd_h1()",
        "alter function ops.touch_api_key(bytea) owner to current_user",
        "create or replace function ops.touch_api_key(bytea) returns void language sql as 'select'",
    )

    # the one thing that it writes, and nobody else does by that function
    digest = f"'\\x{hashlib.sha256(key.encode()).hexdigest()}'"
    before = _run(tenants.pipeline, "select name, tier, expires_at, revoked_at, created_at from ops.api_keys")
    _run(tenants.api, f"select ops.touch_api_key({digest})")
    assert _count(tenants.pipeline, "ops.api_keys where last_used_at > now() - interval '2 minutes'") == 1
    assert _run(tenants.pipeline, "select name, tier, expires_at, revoked_at, created_at from ops.api_keys") == before
    for login in (tenants.reader, tenants.customers):
        _may_not(login, f"select ops.touch_api_key({digest})", "select * from ops.api_keys", "create temp table a ()")
    _may_not(tenants.reader, "select api.sync_status()")


@pytest.mark.parametrize("first", ["roles", "function"])
def test_the_api_may_touch_keys_whichever_was_made_first(tenants: Tenants, world: World, first: str) -> None:
    world.uri = tenants.pipeline
    assert world.run("warehouse", "init").returncode == 0
    if first == "function":
        _run(tenants.pipeline, "revoke execute on function ops.touch_api_key(bytea) from tradehouse_api")
        _may_not(tenants.api, "select ops.touch_api_key('x')")
        _run(tenants.owner, SCRIPT.read_text(encoding="utf-8"))
    _run(tenants.api, "select ops.touch_api_key('x')")


def test_the_api_answers_about_trades_and_the_reader_does_too(bybit_world: BybitWorld, tenants: Tenants) -> None:
    bybit_world.uri = tenants.pipeline
    bybit_world.backfill()
    for call in TRADES:
        for login in (tenants.api, tenants.reader):
            [(answer,)] = _run(login, f"select {call}")
            assert isinstance(answer, dict)
            assert answer["success"] is True


def test_the_script_is_repeatable_and_leaves_the_owner_without_membership(tenants: Tenants) -> None:
    state = (
        "select (select array_agg(d::text order by d::text) from pg_default_acl as d),"
        " (select array_agg(n::text order by n::text) from pg_namespace as n where nspname !~ '^pg_'),"
        " (select array_agg((roleid::regrole, member::regrole)::text order by 1) from pg_auth_members as m)"
    )
    before = _run(tenants.superuser, state)
    _run(tenants.owner, SCRIPT.read_text(encoding="utf-8"))
    _run(tenants.superuser, SCRIPT.read_text(encoding="utf-8"))
    assert _run(tenants.superuser, state) == before
    [(inherits,)] = _run(tenants.owner, f"select pg_has_role('{PIPELINE}', 'usage')")
    assert inherits is False


def test_only_what_the_pipeline_made_becomes_readable(tenants: Tenants) -> None:
    _run(tenants.pipeline, "create table public.earlier (a int)")
    _run(tenants.superuser, "revoke select on public.earlier from tradehouse_reader")
    _run(tenants.superuser, "create table public.of_somebody_else (a int)")
    _run(tenants.owner, SCRIPT.read_text(encoding="utf-8"))
    assert _count(tenants.reader, "public.earlier") == 0
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        _run(tenants.reader, "select * from public.of_somebody_else")


def test_the_database_of_the_compose_file_is_set_up(server: Server, world: World) -> None:
    if not shutil.which("psql"):
        pytest.skip("psql is not installed")
    _drop(server)
    administer(server.uri, ["drop role if exists tradehouse", f"create database {DATABASE}"])
    superuser = server.uri.format(database=DATABASE)
    try:
        done = subprocess.run(
            ["sh", ROOT / "deploy" / "postgres-init.sh"],
            env={
                "PATH": os.environ["PATH"],
                "ROLES_SQL": str(SCRIPT),
                "ADMIN_URI": superuser,
                "TRADEHOUSE_PASSWORD": DEBIAN_PASSWORD,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert DEBIAN_PASSWORD not in done.stdout + done.stderr
        world.uri = server.uri.replace("//postgres", "//tradehouse").format(database=DATABASE)
        done_init = world.run("warehouse", "init")
        assert done_init.returncode == 0, done_init.stderr
        assert world.query(
            "select count(*) from pg_default_acl as d where pg_get_userbyid(d.defaclrole) = 'tradehouse'"
        ) == [(9,)]  # tables of eight schemas, functions of ops
    finally:
        _drop(server)
        administer(server.uri, ["drop role if exists tradehouse"])
