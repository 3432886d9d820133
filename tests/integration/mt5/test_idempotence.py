"""Running again changes nothing; increments equal a rebuild; one run at a time."""

from __future__ import annotations

import signal
import time

import psycopg2
import pytest

from extract.settings import load_project
from extract.warehouse import lock_key
from tests.support.collector import bar, series
from tests.support.services import await_no_sessions
from tests.support.world import World

MONDAY = 1_736_121_600  # 2025-01-06 00:00 UTC

CATALOG_ROWS = """
    select 'pg_class', count(*), max(oid::bigint) from pg_class
    union all select 'pg_attribute', count(*), max(attrelid::bigint) from pg_attribute
    union all select 'pg_type', count(*), max(oid::bigint) from pg_type
    union all select 'pg_description', count(*), max(xmin::text::bigint) from pg_description
    union all select 'pg_rewrite', count(*), max(oid::bigint) from pg_rewrite
    union all select 'pg_proc', count(*), max(xmin::text::bigint) from pg_proc
"""


def test_a_sync_with_nothing_new_rewrites_no_row_and_adds_nothing_to_the_catalog(world: World) -> None:
    for table in ("EURUSD", "BTCUSD"):
        world.collector.load_many(table, series(MONDAY, 600, tema="abc" if table == "BTCUSD" else 1.0))
    world.sync_and_check()
    rows, catalog = row_versions(world), world.query(CATALOG_ROWS)
    project = load_project()
    assert {*project.candle_tables, "ohlc", *(f"staging.{symbol}" for symbol in project.symbols)} <= rows.keys()
    assert "0 changed" in world.sync()
    assert row_versions(world) == rows
    assert world.query(CATALOG_ROWS) == catalog


def test_a_build_of_all_tables_with_nothing_new_rewrites_no_row(world: World) -> None:
    world.collector.load_many("EURUSD", series(MONDAY, 600))
    world.sync_and_check()
    rows, functions = row_versions(world), world.query(CATALOG_ROWS)
    assert world.dbt("run", "--select", "config.materialized:incremental,eurusd_*").returncode == 0
    assert row_versions(world) == rows
    assert world.query(CATALOG_ROWS) == functions
    world.execute("update ops.sync_runs set models_failed = 1")
    assert f"{len(load_project().candle_tables) + 1} models built" in world.sync()  # and ohlc
    assert row_versions(world) == rows


def test_a_full_refresh_finds_nothing_to_change_after_increments(small_world: World) -> None:
    world = small_world
    for step in range(4):
        world.collector.write("EURUSD", series(MONDAY + step * 6000, 25))
        world.collector.write("EURUSD", [bar(MONDAY + step * 6000 + 300, close="bad" if step % 2 else 1.5)])
        world.sync_and_check()
    rows = row_versions(world)
    run_dbt(world, "run", "--full-refresh", "--select", "eurusd_m5", "eurusd_h1", "eurusd_d1")
    assert row_versions(world) == rows
    world.check()


def test_a_full_refresh_repairs_what_was_tampered_with(world: World) -> None:
    world.collector.write("EURUSD", series(MONDAY, 48))
    world.sync_and_check()
    world.execute(
        "update eurusd_m5 set close = 9 where timestamp < '2025-01-06 01:00Z';"
        "delete from eurusd_m5 where timestamp = '2025-01-06 02:00Z';"
        "insert into eurusd_m5 select '2025-01-06 00:02Z', open, high, low, close, fractals, null, null, null, null,"
        " 1, 1, 1, null, synced_at from eurusd_m5 limit 1"
    )
    printed = world.sync("--test", code=1)
    assert "candles_match_bars_stg_mt5__eurusd_eurusd: Got 14 results" in printed
    run_dbt(world, "run", "--full-refresh", "--select", "eurusd_m5")
    world.check()


@pytest.mark.only_on("embedded")
def test_only_tables_on_whose_grid_something_changed_are_built(world: World) -> None:
    world.collector.write("EURUSD", series(MONDAY, 12))
    world.sync()
    world.collector.write("EURUSD", [bar(MONDAY + 12 * 300 + 300)])  # 01:05
    assert "2 models built" in world.sync_and_check()  # M5 and ohlc
    world.collector.write("EURUSD", [bar(MONDAY + 12 * 300)])  # 01:00
    assert "5 models built" in world.sync_and_check()


@pytest.mark.only_on("embedded")
def test_what_a_failed_build_left_behind_is_built_next_time(world: World) -> None:
    world.collector.write("EURUSD", series(MONDAY, 12))
    world.sync_and_check()
    world.execute("drop view candles; alter table eurusd_h1 alter column close type text")
    world.collector.write("EURUSD", series(MONDAY + 3600, 13))
    printed = world.sync(code=1)
    assert "eurusd_h1: " in printed
    assert "column close is text, the contract says double precision" in printed
    assert world.query("select count(*) from eurusd_m5") == [(25,)]
    world.execute("alter table eurusd_h1 alter column close type double precision using close::double precision")
    world.sync_and_check()


def test_a_column_the_contract_gained_is_added(world: World) -> None:
    world.collector.write("EURUSD", series(MONDAY, 13))
    world.sync_and_check()
    world.execute("drop view candles; alter table eurusd_h1 drop column smma")
    world.collector.write("EURUSD", [bar(MONDAY + 7200)])
    world.sync()
    # the newest row and the one before it are computed anew, older ones are not
    assert world.query("select smma is not null from eurusd_h1 order by timestamp") == [(False,), (True,), (True,)]
    described = "select col_description('eurusd_h1'::regclass, attnum) from pg_attribute where attname = 'smma'"
    assert "Smoothed moving average" in str(world.query(described + " and attrelid = 'eurusd_h1'::regclass"))
    run_dbt(world, "run", "--full-refresh", "--select", "eurusd_h1")
    assert world.query("select count(smma) from eurusd_h1") == [(3,)]


def test_a_table_of_another_shape_is_rebuilt_on_full_refresh(world: World) -> None:
    world.collector.write("EURUSD", series(MONDAY, 13))
    world.sync_and_check()
    world.execute("drop view candles; alter table eurusd_h1 alter column close type text, add column note text")
    run_dbt(world, "run", "--full-refresh", "--select", "eurusd_h1", "candles")
    world.execute("alter table eurusd_h1 drop column note")
    world.check()
    assert world.query("select count(*) from candles where symbol = 'eurusd' and timeframe = 'H1'") == [(2,)]


@pytest.mark.only_on("embedded")
def test_a_build_without_rows_ends_well_and_leaves_the_tables(world: World) -> None:
    world.collector.write("EURUSD", series(MONDAY, 13))
    world.sync_and_check()
    functions = "select oid, xmin::text from pg_proc where pronamespace = 'refresh'::regnamespace order by 1"
    functions_before, rows_before = world.query(functions), row_versions(world)
    done = world.dbt("build", "--empty")
    assert done.returncode == 0, done.stdout[-3000:]
    assert world.query(functions) == functions_before
    assert row_versions(world).items() >= rows_before.items()
    run_dbt(world, "run")
    world.check()


def test_a_full_refresh_leaves_a_further_column_and_what_stands_on_the_table(world: World) -> None:
    world.collector.write("EURUSD", series(MONDAY, 13))
    world.sync_and_check()
    world.execute(
        "drop role if exists charts; create role charts; grant select on eurusd_h1 to charts with grant option;"
        "revoke all on eurusd_h1 from public; grant select (close) on eurusd_h1 to public;"
        "alter table eurusd_h1 add column note text; update eurusd_h1 set note = 'mine ' || close;"
        "create view noted as select timestamp, note from eurusd_h1; grant select on noted to charts;"
        "delete from eurusd_h1 where timestamp = '2025-01-06 01:00Z'"
    )
    identity = (
        "select 'eurusd_h1'::regclass::oid, 'candles'::regclass::oid, 'noted'::regclass::oid, relacl::text"
        " from pg_class where oid = 'eurusd_h1'::regclass"
    )
    before = world.query(identity)
    done = world.dbt("run", "--full-refresh", "--select", "eurusd_h1")
    assert done.returncode == 0, done.stdout
    assert "has columns that are not the model's, which are left alone: note" in " ".join(done.stdout.split())
    assert world.query(identity) == before
    assert world.query("select note is null from noted order by timestamp") == [(False,), (True,)]

    # what only a rebuild mends takes all of it along
    world.execute("alter table eurusd_h1 drop constraint eurusd_h1_pkey")
    run_dbt(world, "run", "--full-refresh", "--select", "eurusd_h1")
    (rebuilt, candles, noted, grants) = world.query(identity)[0]
    assert rebuilt != before[0][0]
    assert (candles, noted) != before[0][1:3]
    assert grants == before[0][3]
    assert world.query("select note is null from noted order by timestamp") == [(False,), (True,)]
    rights = "select has_table_privilege('charts', 'noted', 'select'), has_table_privilege('charts', %s::oid, 'select')"
    assert world.query(rights, rebuilt) == [(True, True)]
    assert world.query("select attacl::text from pg_attribute where attrelid = %s and attname = 'close'", rebuilt) == [
        ("{=r/postgres}",)
    ]
    assert world.query("select to_regclass('eurusd_h1__dbt_backup')") == [(None,)]
    world.execute("drop view noted; alter table eurusd_h1 drop column note")
    world.check()


@pytest.mark.only_on("embedded")
def test_a_second_run_names_the_first_and_leaves_without_work(world: World) -> None:
    world.collector.write("EURUSD", series(MONDAY, 3))
    with world.connection() as other, other.cursor() as cursor:
        cursor.execute(
            f"set application_name = 'tradehouse sync pid 7 on elsewhere'; select pg_advisory_lock({lock_key('mt5')})"
        )
        printed = world.sync()
        assert "another run of mt5 holds the lock: tradehouse sync pid 7 on elsewhere" in printed
        assert world.query("select count(*) from staging.eurusd") == [(0,)]
    world.sync_and_check()


@pytest.mark.only_on("embedded")
def test_a_killed_run_is_recorded_as_interrupted_and_made_good(world: World) -> None:
    world.collector.load_many("EURUSD", series(MONDAY, 500))
    process = world.start("sync")
    deadline = time.monotonic() + 60
    while world.query("select count(*) from staging.eurusd") == [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    await_no_sessions(world)
    world.sync_and_check()
    assert world.query("select status from ops.sync_runs order by run_id desc limit 2") == [("done",), ("interrupted",)]


@pytest.mark.only_on("embedded")
def test_extracted_at_grows_even_when_the_clock_is_set_back(world: World) -> None:
    world.collector.write("EURUSD", [bar(MONDAY)])
    world.sync()
    world.execute("update ops.sync_runs set extracted_at = '2100-01-01Z' where extracted_at is not null")
    world.collector.write("EURUSD", [bar(MONDAY + 300)])
    world.sync_and_check()
    stamps = world.query("select extracted_at > '2100-01-01Z' from staging.eurusd order by timestamp")
    assert stamps == [(False,), (True,)]


@pytest.mark.only_on("embedded")
@pytest.mark.parametrize("column", ["description of a table", "description of a column"])
def test_a_changed_description_is_written_once(world: World, column: str) -> None:
    world.collector.write("EURUSD", [bar(MONDAY)])
    world.sync()
    target = "table eurusd_h1" if "table" in column else "column eurusd_h1.close"
    world.execute(f"comment on {target} is 'something else'")
    assert world.dbt("run", "--select", "eurusd_h1").returncode == 0
    found = (
        "obj_description('eurusd_h1'::regclass)" if "table" in column else "col_description('eurusd_h1'::regclass, 5)"
    )
    ((text,),) = world.query(f"select {found}")
    assert "H1 candle of EURUSD" in text or "close" in text
    with pytest.raises(psycopg2.errors.UndefinedTable):
        world.query("select * from eurusd_h1__dbt_tmp")


def row_versions(world: World) -> dict[str, str]:
    """A digest of every candle and staging table's row versions and places."""
    tables = world.query(
        "select oid::regclass::text from pg_class where relkind = 'r'"
        " and relnamespace in ('public'::regnamespace, 'staging'::regnamespace)"
    )
    (digests,) = world.query(
        "select "
        + ", ".join(
            f"(select md5(string_agg(xmin::text || ctid, ',' order by ctid)) from {name})" for (name,) in tables
        )
    )
    return {name: digest for (name,), digest in zip(tables, digests, strict=True)}


def run_dbt(world: World, *arguments: str) -> None:
    """Run plain dbt as its own program, on the variables `tradehouse env` prints."""
    done = world.dbt(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.only_on("embedded")
def test_the_first_build_leaves_the_increments_in_the_warehouse(world: World) -> None:
    package = world.directory / "without" / "dbt"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('no dbt here')")
    world.settings["PYTHONPATH"] = str(package.parent)
    world.collector.write("EURUSD", series(MONDAY, 13))
    assert "10 models built" in world.sync_and_check()  # the tables were made empty
    world.collector.write("EURUSD", [bar(MONDAY + 3600, close=1.5, high=9.0)])
    assert "5 models built" in world.sync_and_check()
