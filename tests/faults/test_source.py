"""The SQLite file: locked, replaced, cut short, unreadable, left in mid-transaction; and a writer we must not hurt."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.collector import SYMBOLS, Collector, CollectorError, bar, series
from tests.support.services import NO_TESTS, service
from tests.support.trading import M5, MONDAY
from tests.support.world import World

LOCK_SECONDS = 10.0


@contextmanager
def locked_for(world: World, seconds: float) -> Iterator[Callable[[], float]]:
    """Have the collector hold the file exclusively; yields a function that says how many seconds are left."""
    world.collector.execute("pragma journal_mode = delete")
    world.collector.execute("begin exclusive")
    until = time.monotonic() + seconds
    yield lambda: max(0.0, until - time.monotonic())
    world.collector.execute("rollback")


def fill(world: World, rows: int = 200) -> None:
    """The same history for every symbol, landed."""
    for symbol in SYMBOLS:
        world.collector.load_many(symbol, series(MONDAY, rows))
    world.sync_and_check()


def newest_rows(world: World, place: int) -> None:
    """Write a bar to every symbol."""
    for symbol in SYMBOLS:
        world.collector.write(symbol, [bar(MONDAY + place * M5)])


@contextmanager
def other_writer(world: World, journal: str = "wal") -> Iterator[None]:
    """Close the collector, and open another one on what is at its path then."""
    world.collector.close()
    yield
    world.collector = Collector(world.sqlite_path, "wal" if journal == "wal" else "delete")
    world.collector.__enter__()


@pytest.fixture(autouse=True)
def _last_collector_closed(world: World) -> Iterator[None]:
    yield
    world.collector.close()


@pytest.mark.only_on("embedded")
def test_a_sync_waits_for_a_file_that_is_locked_for_ten_seconds(world: World) -> None:
    world.sync()
    newest_rows(world, 0)
    with locked_for(world, LOCK_SECONDS) as seconds_left:
        run = world.start("sync")
        with suppress(subprocess.TimeoutExpired):
            run.communicate(timeout=seconds_left())
    printed = run.communicate(timeout=60)[0]
    assert run.returncode == 0, printed
    assert "15 changed" in printed
    world.check()


@pytest.mark.only_on("embedded")
def test_a_service_goes_on_after_a_file_was_locked_for_ten_seconds(world: World) -> None:
    newest_rows(world, 0)
    with service(world, *NO_TESTS) as running:
        running.await_ticks()
        newest_rows(world, 1)
        running.await_that(lambda: world.query("select count(*) from eurusd_m5") == [(2,)], "second bar")
        with locked_for(world, LOCK_SECONDS) as seconds_left:
            running.await_log("locked by another program")
            running.await_that(lambda: seconds_left() == 0, "end of the lock")
        newest_rows(world, 2)
        running.await_log("source: cleared")
        assert running.log.count("locked by another program") == 1
        running.await_that(lambda: world.query("select count(*) from eurusd_m5") == [(3,)], "third bar")
        assert running.end() == 0
    world.sync_and_check()


@pytest.mark.only_on("embedded")
def test_another_file_in_its_place(world: World) -> None:
    fill(world)
    never_replaced = world.directory / "never_replaced.db"
    shutil.copy(world.sqlite_path, never_replaced)
    with service(world, *NO_TESTS) as running:
        running.await_ticks()
        for place, (first, rows) in enumerate(((0, 201), (196, 8), (150, 70)), start=1):
            new = world.directory / "new.db"
            with other_writer(world), Collector(new) as collector, Collector(never_replaced) as union:
                collector.create()
                for symbol in SYMBOLS:
                    # within the look-back its bars differ from those of the file before
                    bars = series(MONDAY + first * M5, rows)[:-3] + series(
                        MONDAY + (first + rows - 3) * M5, 3, tema=float(place)
                    )
                    collector.load_many(symbol, bars)
                    union.load_many(symbol, bars)
                collector.execute("pragma journal_mode = delete")
                union.execute("pragma journal_mode = delete")
                collector.close()
                for left in ("-wal", "-shm"):
                    Path(f"{world.sqlite_path}{left}").unlink(missing_ok=True)
                new.replace(world.sqlite_path)
            newest = f"select count(*) from xauusd_m5 where tema = {place}"
            running.await_that(lambda newest=newest: world.query(newest) == [(3,)], f"file {place}")  # type: ignore[misc]
            running.await_ticks()
            world.check(never_replaced)
        assert running.end() == 0


@pytest.mark.only_on("embedded")
def test_a_truncated_file_leaves_the_tables_as_they_are(world: World) -> None:
    fill(world)
    before = world.directory / "before.db"
    with other_writer(world):
        whole = world.sqlite_path.read_bytes()
        before.write_bytes(whole)
        for kept, code, said in (
            (len(whole) // 2, 2, "malformed"),
            (4096, 2, "malformed"),
            (100, 2, "cannot be read"),
            (0, 1, "the file has no table for this symbol"),
        ):
            world.sqlite_path.write_bytes(whole[:kept])
            assert said in world.sync(code=code)
        world.check(before)
        world.sqlite_path.write_bytes(whole)
    newest_rows(world, 201)
    world.sync_and_check()


@pytest.mark.only_on("embedded")
@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_collector_killed_in_mid_transaction(world: World, journal: str) -> None:
    world.collector.execute(f"pragma journal_mode = {journal}")
    fill(world)
    with other_writer(world, journal):
        before = world.directory / "before.db"
        shutil.copy(world.sqlite_path, before)
        with Collector(world.sqlite_path, "wal" if journal == "wal" else "delete") as dying:
            dying.execute("pragma cache_size = 1")  # so that changed pages reach the file before the commit
            dying.execute("begin immediate")
            for symbol in SYMBOLS:
                dying.write(symbol, series(MONDAY, 200, close=9.0, high=10.0))
            dying.kill()
        if journal == "delete":
            # half of the transaction is in the file, and a reader may not roll it back
            assert "mid-transaction" in world.sync(code=2)
        else:
            world.sync()
        world.check(before)
    newest_rows(world, 201)  # the next writer rolls it back
    world.sync_and_check()


@pytest.mark.only_on("debian")  # such a root cannot reach the embedded server's socket
def test_a_file_without_read_permission(world: World) -> None:
    # root without the capabilities that let it read everything
    plain_root = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--")
    wrapper = plain_root if os.geteuid() == 0 else ()
    if wrapper and shutil.which(wrapper[0]) is None:
        pytest.skip("root may read everything, and setpriv is not installed")
    newest_rows(world, 0)
    world.collector.execute("pragma journal_mode = delete")
    world.sqlite_path.chmod(0)
    run = world.start_alone("sync", wrapper=wrapper)
    printed = run.communicate(timeout=60)[0]
    assert (run.returncode, "cannot be read: Permission denied" in printed) == (2, True), printed
    assert "Traceback" not in printed
    world.sqlite_path.chmod(0o600)
    assert world.start_alone("sync", wrapper=wrapper).wait(60) == 0
    world.check()


@pytest.mark.only_on("embedded")
@pytest.mark.parametrize("fault", ["lacks a column", "claimed twice", "damaged pages"])
def test_a_bad_symbol_table_leaves_the_other_fourteen_current(world: World, fault: str) -> None:
    fill(world)
    collector = world.collector
    collector.execute("pragma journal_mode = delete")
    if fault == "lacks a column":
        collector.execute("alter table GBPUSD rename column smma to smooth")
    elif fault == "claimed twice":
        collector.execute("alter table GBPUSD rename to 'GBPUSD.i'")
        collector.execute("create table GBPUSDm as select * from 'GBPUSD.i'")
    for symbol in SYMBOLS:
        if symbol != "GBPUSD":
            collector.write(symbol, [bar(MONDAY + 200 * M5)])
    good = world.directory / "good.db"
    shutil.copy(world.sqlite_path, good)
    if fault == "damaged pages":
        ((root,),) = collector.execute("select rootpage from sqlite_master where name = 'GBPUSD'")
        ((size,),) = collector.execute("pragma page_size")
        with world.sqlite_path.open("r+b") as file:
            file.seek((root - 1) * size)
            file.write(b"\xff" * size)
    printed = world.sync(code=1)
    assert "GBPUSD: " in printed
    with Collector(good) as repaired:
        if fault == "lacks a column":
            repaired.execute("alter table GBPUSD rename column smooth to smma")
        elif fault == "claimed twice":
            repaired.drop("GBPUSDm")
    world.check(good)
    state = json.loads(world.run("status", "--json").stdout)
    symbols = {each["symbol"]: each for each in state["symbols"]}
    assert symbols["gbpusd"]["status"] == "failed"
    assert symbols["gbpusd"]["last_error"]
    assert {each["status"] for name, each in symbols.items() if name != "gbpusd"} == {"ok"}
    shown = world.run("status")
    assert (shown.returncode, "GBPUSD failed: " in shown.stdout) == (1, True), shown.stdout
    shutil.copy(good, world.sqlite_path)
    world.sync_and_check()


@pytest.mark.only_on("embedded")
def test_a_writer_of_forming_bars_loses_no_write_to_us(world: World) -> None:
    fill(world)
    newest = MONDAY + 200 * M5
    with service(world, *NO_TESTS) as running:
        running.await_ticks()
        newest_rows(world, 200)
        running.await_ticks(2)  # the first tick after a build is no ordinary one
        lost: list[str] = []
        ticks, revision = running.log.count(" rows read, "), 0
        world.collector.close()
        # rollback-journal mode, where a reader blocks the writer; it waits as long as a tick may hold the file
        with Collector(world.sqlite_path, "delete", timeout=0.05) as writer:
            until = time.monotonic() + 60
            while time.monotonic() < until:
                revision += 1
                try:
                    writer.write(SYMBOLS[revision % 15], [bar(newest, tema=float(revision))])
                except CollectorError as error:
                    lost.append(str(error))
                time.sleep(0.1)  # the writer's pace
        running.await_ticks(2)
        assert running.log.count(" rows read, ") - ticks >= 5
        assert (lost, revision > 300) == ([], True)
        assert running.end() == 0
    world.sync_and_check()
