"""Two runners at once, a lost lock, a clock set back, and a project that changes under the service."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from extract.warehouse import lock_key
from tests.support.collector import SYMBOLS, Collector, bar, series
from tests.support.services import NO_TESTS, await_that, service
from tests.support.trading import M5, MONDAY, Market
from tests.support.world import ROOT, World

LOCK_HOLDER = (
    "select pid from pg_locks where locktype = 'advisory' and granted and objsubid = 1"
    f" and (classid::bigint << 32 | objid::bigint) = {lock_key('mt5')}"
)
PROJECT = ("tradehouse", "extract", "serve", "collector", "dbt_project", "macros", "sql")


@pytest.mark.only_on("embedded")
def test_two_services_and_a_sync_by_hand_share_the_work(small_world: World) -> None:
    world = small_world
    market = Market(world, seed=2)
    with (
        service(world, *NO_TESTS, name="first") as first,
        service(world, *NO_TESTS, name="second") as second,
    ):
        both = first, second
        for each in both:
            each.await_ticks()
        for _ in range(2):
            market.move()
            assert world.run("sync").returncode == 0
            for each in both:
                each.await_ticks()
        first.kill()
        market.move()
        second.await_ticks(2)
        assert second.end() == 0
        errors = [line for each in both for line in each.log.splitlines() if " ERROR " in line]
        assert all("lock: another run of mt5 holds the lock: tradehouse " in line for line in errors), errors
    world.sync_and_check()
    overlaps = "a.run_id < b.run_id and b.started_at < a.finished_at and a.status <> 'interrupted'"
    # a build with tests runs beside the ticks and holds no lock
    overlaps += " and 'build' not in (a.command, b.command)"
    assert world.query(f"select count(*) from ops.sync_runs as a, ops.sync_runs as b where {overlaps}") == [(0,)]


def test_two_runs_that_start_at_once_start_one_server(tmp_path: Path) -> None:
    with Collector(tmp_path / "trading_data.db") as collector:
        collector.create()
        collector.write("EURUSD", series(MONDAY, 3))
        world = World(tmp_path, tmp_path / "home", "embedded", collector)
        try:
            runs = [world.start("sync") for _ in range(2)]
            printed = [run.communicate(timeout=120)[0] for run in runs]
            assert [run.returncode for run in runs] == [0, 0], printed
            assert sorted("another run of mt5 holds the lock" in each for each in printed) == [False, True], printed
            world.uri = world.run("warehouse", "uri").stdout.strip()
            world.check()
        finally:
            world.uri = "embedded"
            world.run("warehouse", "stop")


def test_a_run_that_loses_its_lock_writes_nothing_more(world: World) -> None:
    world.sync()
    for symbol in SYMBOLS:
        world.collector.write(symbol, [bar(MONDAY)])
    world.settings["DBT_THREADS"] = "1"
    tables = [f"{symbol.lower()}_h1" for symbol in SYMBOLS] + [f"{symbol.lower()}_m5" for symbol in SYMBOLS]
    with world.connection() as blocking, blocking.cursor() as cursor:
        cursor.execute(f"lock table {', '.join(tables)} in share mode")
        run = world.start("sync")
        waiting = "select count(*) from pg_locks where not granted and mode = 'RowExclusiveLock'"
        await_that(lambda: world.query(waiting) == [(1,)], "model that waits for its table")
        ((holder,),) = world.query(LOCK_HOLDER)
        assert world.query("select pg_terminate_backend(%s)", holder) == [(True,)]
        await_that(lambda: world.query(LOCK_HOLDER) == [], "end of the lock")
        blocking.rollback()
    printed = run.communicate(timeout=60)[0]
    assert run.returncode == 2, printed
    assert "Traceback" not in printed
    assert len([line for line in printed.splitlines() if line.startswith("error: ")]) == 1, printed
    written = sum(count for name in tables for ((count,),) in [world.query(f"select count(*) from {name}")])
    assert written <= 1, f"{written} tables were written, one was under way"
    world.sync_and_check()
    assert world.query("select status from ops.sync_runs order by run_id desc limit 2") == [("done",), ("interrupted",)]


def set_clock_back(world: World, hours: int) -> None:
    """Set the server's clock back for every session to come: Postgres finds this clock before its own."""
    ((database,),) = world.query("select current_database()")
    world.execute(
        "create schema if not exists shifted;"
        "create or replace function shifted.clock_timestamp() returns timestamptz language sql volatile as"
        f" 'select pg_catalog.clock_timestamp() - interval ''{hours} hours''';"
        f"alter database {database} set search_path = shifted, pg_catalog, public"
    )


@pytest.mark.only_on("embedded")
def test_a_clock_set_back_an_hour_loses_nothing(small_world: World) -> None:
    world = small_world
    newest = int(time.time()) // M5 * M5

    def newest_close() -> list[tuple[object, ...]]:
        return world.query("select close from eurusd_m5 order by timestamp desc limit 1")

    world.collector.load_many("EURUSD", series(newest - 40 * M5, 40))
    with service(world, *NO_TESTS) as running:
        running.await_ticks()
        changes: list[tuple[Callable[[], None], float]] = [
            (lambda: None, 1.5),
            (lambda: set_clock_back(world, 1), 1.6),
            (lambda: None, 1.7),
            (lambda: set_clock_back(world, 0), 1.8),
        ]
        for place, (change, close) in enumerate(changes):
            change()
            # bars of the last hour, which lie in the future now, are corrected with the forming one
            corrected = [bar(newest - back * M5, close=close + back, high=20.0) for back in (9, place)]
            world.collector.write("EURUSD", [*corrected, bar(newest, close=close, high=20.0)])
            running.await_that(lambda close=close: newest_close() == [(close,)], f"close {close}")  # type: ignore[misc]
            world.check()
        assert running.end() == 0
    stamps = [
        stamp
        for (stamp,) in world.query(
            "select extracted_at from ops.sync_runs where extracted_at is not null order by run_id"
        )
    ]
    assert len(stamps) >= 4
    assert stamps == sorted(set(stamps))


@pytest.mark.only_on("embedded")
def test_project_files_changed_under_a_running_service(world: World) -> None:
    world.home = world.directory / "home"
    project = world.directory / "project"
    for name in PROJECT:
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__", "target", "logs"))
    shutil.copy(ROOT / "profiles.yml.example", project)
    docs = project / "dbt_project" / "models" / "marts" / "candles" / "_candles.yml"
    macro = project / "macros" / "marts" / "candles.sql"
    whole = macro.read_text()
    described = "select obj_description('candles'::regclass) like 'Told anew.%'"
    world.collector.write("EURUSD", series(MONDAY, 3))
    with service(
        world, *NO_TESTS, program=(sys.executable, "-m", "tradehouse.main"), environment={"PYTHONPATH": str(project)}
    ) as running:
        running.await_ticks(seconds=120)

        docs.write_text(docs.read_text().replace("One row per candle", "Told anew. One row per candle", 1))
        running.await_that(lambda: world.query(described) == [(True,)], "new description")

        macro.write_text("{% macro candles(bars, timeframe %}")
        running.await_log("run: dbt ")
        world.collector.write("EURUSD", series(MONDAY + 900, 3))
        staged = "select count(*) from staging.eurusd"
        running.await_that(lambda: world.query(staged) == [(6,)], "landing beside a broken project")
        macro.write_text(whole)
        running.await_log("run: cleared")
        world.check()

        macro.write_text(whole.replace("sampled.extracted_at as synced_at", "sampled.extracted_ax as synced_at"))
        running.await_log("extracted_ax")
        world.collector.write("EURUSD", [bar(MONDAY + 1500, close=1.5, high=2.0)])
        macro.write_text(whole)
        running.await_log("eurusd_m5: cleared")
        running.await_ticks()
        world.check()
        assert running.end() == 0
