"""sql/roles.sql: the pipeline runs with no more rights than that gives, and the reader reads and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess

import psycopg2.errors
import pytest

from tests.conftest import Server
from tests.support.accounts_world import AccountsWorld
from tests.support.collector import series
from tests.support.fake_mt5 import info, position, trade
from tests.support.servers import DEBIAN_PASSWORD, administer
from tests.support.tenants import DATABASE, PIPELINE, SCRIPT, Tenants, count, drop_roles, may_not, run_as
from tests.support.world import ROOT, World

MONDAY = 1_736_121_600  # 2025-01-06 00:00 UTC


@pytest.mark.only_on("debian")
def test_the_pipeline_runs_and_the_reader_only_reads(world: World, tenants: Tenants) -> None:
    world.uri = tenants.pipeline
    world.collector.load_many("EURUSD", series(MONDAY, 30))

    # (a) the pipeline: neither superuser nor owner, and it may not even create a schema
    [rights] = run_as(
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
    assert count(tenants.reader, "eurusd_h1") == 3
    assert count(tenants.reader, "candles") == count(tenants.pipeline, "candles") > 30
    for relation in ("staging.eurusd", "staging.stg_mt5__eurusd", "ops.sync_runs", "ops.rejected_bars"):
        assert count(tenants.pipeline, relation) >= 0
        may_not(tenants.reader, f"select * from {relation}")
    may_not(
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
    run_as(tenants.pipeline, "alter table eurusd_h1 alter column close drop not null")
    made_before = run_as(tenants.pipeline, "select 'eurusd_h1'::regclass::oid, 'candles'::regclass::oid")
    rebuilt = world.dbt("run", "--full-refresh", "--select", "eurusd_h1", "candles")
    assert rebuilt.returncode == 0, rebuilt.stdout
    made_after = run_as(tenants.pipeline, "select 'eurusd_h1'::regclass::oid, 'candles'::regclass::oid")
    assert all(before != after for before, after in zip(made_before[0], made_after[0], strict=True))
    assert count(tenants.reader, "eurusd_h1") == 3
    assert count(tenants.reader, "candles") > 30

    # Another version of warehouse.sql is brought in with the same rights.
    run_as(tenants.pipeline, "comment on schema ops is 'older'; drop index ops.sync_runs_extracted_at")
    world.sync()
    assert run_as(tenants.pipeline, "select to_regclass('ops.sync_runs_extracted_at') is not null") == [(True,)]


def test_accounts_are_readable_by_their_own_role_alone(accounts_world: AccountsWorld, tenants: Tenants) -> None:
    world = accounts_world
    world.uri = tenants.pipeline
    world.register("a")
    world.fake.account("a", info(1000), [position(1)], [trade(2)])
    world.poll()
    [(answer,)] = run_as(tenants.api, "select api.accounts()")
    assert isinstance(answer, dict)
    assert answer["total_count"] == 1
    may_not(tenants.reader, "select api.accounts()")
    rights = "select has_schema_privilege('tradehouse_reader', 'accounts', 'usage'), exists (select from pg_default_acl"
    rights += " where defaclnamespace = 'accounts'::regnamespace and defaclacl::text like '%tradehouse_reader=%')"
    assert run_as(tenants.superuser, rights) == [(False, False)]
    relations = ("trading_accounts", "trades", "sync_logs", "account_success_rates", "registered_accounts")
    for relation in relations:
        assert count(tenants.customers, f"accounts.{relation}") > 0
        may_not(tenants.reader, f"select * from accounts.{relation}")
    may_not(
        tenants.customers,
        "select * from staging.mt5_history",
        "select * from ops.sync_runs",
        "update accounts.registered_accounts set is_active = false",
        "delete from accounts.trades",
        "create table accounts.mine (a int)",
    )


def test_the_script_is_repeatable_and_leaves_the_owner_without_membership(tenants: Tenants) -> None:
    state = (
        "select (select array_agg(d::text order by d::text) from pg_default_acl as d),"
        " (select array_agg(n::text order by n::text) from pg_namespace as n where nspname !~ '^pg_'),"
        " (select array_agg((roleid::regrole, member::regrole)::text order by 1) from pg_auth_members as m)"
    )
    before = run_as(tenants.superuser, state)
    run_as(tenants.owner, SCRIPT.read_text(encoding="utf-8"))
    run_as(tenants.superuser, SCRIPT.read_text(encoding="utf-8"))
    assert run_as(tenants.superuser, state) == before
    [(inherits,)] = run_as(tenants.owner, f"select pg_has_role('{PIPELINE}', 'usage')")
    assert inherits is False


def test_only_what_the_pipeline_made_becomes_readable(tenants: Tenants) -> None:
    run_as(tenants.pipeline, "create table public.earlier (a int)")
    run_as(tenants.superuser, "revoke select on public.earlier from tradehouse_reader")
    run_as(tenants.superuser, "create table public.of_somebody_else (a int)")
    run_as(tenants.owner, SCRIPT.read_text(encoding="utf-8"))
    assert count(tenants.reader, "public.earlier") == 0
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        run_as(tenants.reader, "select * from public.of_somebody_else")


def test_the_database_of_the_compose_file_is_set_up(server: Server, world: World) -> None:
    if not shutil.which("psql"):
        pytest.skip("psql is not installed")
    secret = world.directory / "password"
    environment = {"PATH": os.environ["PATH"], "TRADEHOUSE_PASSWORD_FILE": str(secret), "ROLES_SQL": str(SCRIPT)}
    script = ["sh", str(ROOT / "deploy" / "postgres-init.sh")]
    refused = subprocess.run(script, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (refused.returncode, refused.stderr) == (1, f"{secret} is missing or empty\n")
    secret.write_text(DEBIAN_PASSWORD + "\n")
    drop_roles(server.uri)
    administer(server.uri, ["drop role if exists tradehouse", f"create database {DATABASE}"])
    superuser = server.uri.format(database=DATABASE)
    try:
        done = subprocess.run(
            script, env=environment | {"ADMIN_URI": superuser}, capture_output=True, text=True, check=False, timeout=60
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
        drop_roles(server.uri)
        administer(server.uri, ["drop role if exists tradehouse"])
