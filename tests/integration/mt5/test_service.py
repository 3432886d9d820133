"""`tradehouse run`: ticks, trouble that comes and goes, and an end when asked."""

from __future__ import annotations

import os
import signal
from functools import partial
from typing import Any

import pytest

from extract.dbt_runner import Dbt, DbtProcess
from extract.errors import WarehouseUnavailableError
from extract.run import Runner
from extract.settings import Project, Settings, load_project
from extract.sources.mt5.source import Mt5Reading, Mt5Source
from extract.warehouse import lock_key
from tests.support.collector import bar, series
from tests.support.services import service
from tests.support.world import World

# What differs between servers is tested with cycles; here it is what the pipeline does, and takes a while.
pytestmark = pytest.mark.only_on("embedded")

MONDAY = 1_736_121_600  # 2025-01-06 00:00 UTC


def test_ticks_follow_the_source_until_sigterm(world: World) -> None:
    world.collector.write("EURUSD", series(MONDAY, 13))
    with service(world) as running:
        running.await_log("tests passed")  # the start builds and tests everything
        for close in (1.5, 1.6, 1.7):
            world.collector.write("EURUSD", [bar(MONDAY + 3600, close=close, high=2.0)])
            running.await_that(partial(newest_close_is, world, close), f"close {close}")
        world.check()
        assert "1 changed, 0 rejected, 5 models built" in running.log
        running.await_log("0 changed, 0 rejected, 0 models built")
        assert running.end() == 0
        assert running.log.rstrip().endswith("stopped")
    assert world.query("select run_id, status, error from ops.sync_runs where status <> 'done'") == []


def newest_close_is(world: World, close: float) -> bool:
    return world.query("select close from eurusd_h1 order by timestamp desc limit 1") == [(close,)]


def test_a_second_signal_ends_at_once(world: World) -> None:
    with service(world) as running:
        running.await_that(
            lambda: world.query("select status from ops.sync_runs order by run_id desc limit 1") == [("running",)],
            "run",
        )
        running.process.send_signal(signal.SIGTERM)
        running.await_log("a second signal ends at once")
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(5) == -signal.SIGTERM


def test_trouble_is_logged_when_it_comes_and_when_it_goes(world: World) -> None:
    world.collector.write("EURUSD", series(MONDAY, 3))
    with service(world) as running:
        running.await_log("tests passed")
        world.collector.execute("alter table GBPUSD rename to GBPUSD_away")
        running.await_log("GBPUSD: the file has no table for this symbol")
        world.collector.write("EURUSD", series(MONDAY + 900, 3))
        running.await_log("partial in", times=3)
        world.check()
        world.collector.execute("alter table GBPUSD_away rename to GBPUSD")
        running.await_log("GBPUSD: cleared")
        assert running.log.count("GBPUSD: the file has no table") == 1
        assert running.end() == 0


def test_a_locked_source_is_waited_for(world: World) -> None:
    world.collector.execute("pragma journal_mode = delete")
    with service(world) as running:
        running.await_log("tests passed")
        world.collector.execute("begin exclusive")
        running.await_log("source: the SQLite file is locked by another program")
        world.collector.execute("rollback")
        world.collector.write("EURUSD", series(MONDAY, 3))
        running.await_log("source: cleared")
        running.await_that(lambda: world.query("select count(*) from eurusd_m5") == [(3,)], "rows")
        assert running.end() == 0
        world.check()


def test_a_missing_setting_is_an_error_at_once(world: World) -> None:
    world.settings["SQLITE_PATH"] = ""
    done = world.run("run")
    assert done.returncode == 2
    assert "SQLITE_PATH is not set" in done.stderr


@pytest.mark.parametrize("fault", ["unreachable server", "missing file"])
def test_a_service_that_cannot_work_yet_keeps_trying(world: World, fault: str) -> None:
    if fault == "missing file":
        world.settings["SQLITE_PATH"] = str(world.directory / "later.db")
    else:
        world.uri = "postgresql://nobody@127.0.0.1:1/nowhere"
    with service(world) as running:
        running.await_log("there is no file" if fault == "missing file" else "cannot connect to Postgres")
        if fault == "missing file":
            world.sqlite_path.rename(world.directory / "later.db")
            running.await_log("run: cleared")
        assert running.end() == 0


def test_a_tick_does_without_dbt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = dict(os.environ)
    world.collector.write("EURUSD", series(MONDAY, 13))
    world.sync()
    invocations: list[tuple[str, ...]] = []
    start = Dbt.start

    def noted(dbt: Dbt, *words: str) -> DbtProcess:
        invocations.append(words)
        return start(dbt, *words)

    monkeypatch.setattr(Dbt, "start", noted)
    with runner_of(world) as runner:
        for close in (1.5, 1.6):
            world.collector.write("EURUSD", [bar(MONDAY + 3600, close=close, high=2.0)])
            assert len(runner.run("run").transform.built) == 5  # four tables and ohlc
            world.check()
        assert invocations == []
        # what Postgres refuses is left to dbt, and so are the complaint and the repair
        world.execute("drop view candles cascade; alter table eurusd_h1 rename to eurusd_h1_away")
        world.collector.write("EURUSD", [bar(MONDAY + 7200)])
        outcome = runner.run("run")
        assert outcome.ok, outcome.problems
        assert len(invocations) == 1
        assert "eurusd_h1" in invocations[0]
        assert os.environ == environment  # PGPORT and its like would lead later connections of the process astray
        world.check()


def runner_of(world: World) -> Runner[Mt5Reading]:
    settings, project = loaded(world)
    return Runner(settings, project, Mt5Source(settings, project))


def loaded(world: World) -> tuple[Settings, Project]:
    values: dict[str, Any] = {name.lower(): value for name, value in world.environment.items()}
    return Settings(**values), load_project()


def test_a_lost_lock_ends_the_run_before_anything_more_is_written(world: World) -> None:
    world.collector.write("EURUSD", series(MONDAY, 13))
    settings, project = loaded(world)
    end_holder = (
        "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted and objsubid = 1"
        f" and (classid::bigint << 32 | objid::bigint) = {lock_key('mt5')}"
    )

    def lose(step: str, *_: object) -> None:
        if step == lost_at:
            world.execute(end_holder)

    for lost_at in ("reading", "refreshing tables"):
        with (
            Runner(settings, project, Mt5Source(settings, project)) as runner,
            pytest.raises(WarehouseUnavailableError, match="broke off"),
        ):
            runner.run("sync", progress=lose)
        assert world.query("select (select count(*) from staging.eurusd), (select count(*) from eurusd_h1)") == [
            (0 if lost_at.startswith("reading") else 13, 0)
        ]
    world.sync_and_check()
    assert world.query("select status, count(*) from ops.sync_runs where status <> 'done' group by 1") == [
        ("interrupted", 2)
    ]
