"""A full disk: under the embedded Postgres, under the pipeline's own files, under the SQLite file."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.collector import Collector, bar, series
from tests.support.services import NO_TESTS, service
from tests.support.trading import M5, MONDAY, Market
from tests.support.world import World


@contextmanager
def small_disk(directory: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own size in memory, mounted on the directory."""
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=777", "tmpfs", str(directory)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system can be mounted by root only")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Fill the disk up, to the last byte, for as long as the block lasts."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            pass
    try:
        yield
    finally:
        filler.unlink()


def one_error(printed: str) -> str:
    """The one line in which a command said why it could not run."""
    (line,) = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in printed
    return line


@pytest.mark.only_on("embedded")
def test_no_room_for_the_pipelines_own_files(world: World) -> None:
    world.collector.write("EURUSD", series(MONDAY, 3))
    with small_disk(world.directory / "disk", 64) as disk:
        world.home = disk / "home"
        with full(disk):
            world.sync_and_check()  # a run that needs no dbt writes nothing there
            world.execute(
                "update ops.sync_runs set project_fingerprint = 'another' where project_fingerprint is not null"
            )
            assert "No space left on device" in one_error(world.sync(code=2))
        world.sync_and_check()
        world.collector.write("EURUSD", series(MONDAY + 900, 3))
        with full(disk):
            world.sync_and_check()
        world.sync_and_check()


@pytest.mark.only_on("embedded")
def test_no_room_beside_the_sqlite_file(world: World) -> None:
    for symbol in ("EURUSD", "GBPUSD"):
        world.collector.write(symbol, series(MONDAY, 30))
    with small_disk(world.directory / "disk", 4) as disk:
        world.collector.execute("pragma wal_checkpoint(truncate)")
        path = disk / "trading_data.db"
        shutil.copy(world.sqlite_path, path)
        world.settings["SQLITE_PATH"] = str(path)
        # in WAL mode even a reader makes a file beside it, unless a writer has it already
        with full(disk):
            assert "cannot be read" in one_error(world.sync(code=2))
        world.sync()
        with Collector(path) as collector, full(disk):
            assert collector.execute("select count(*) from EURUSD") == [(30,)]
            world.sync()
        with Collector(path) as collector:
            collector.write("EURUSD", [bar(MONDAY + 30 * M5)])
            world.sync()
        world.check(path)


def test_no_room_for_the_embedded_server(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 256) as disk, Collector(tmp_path / "trading_data.db") as collector:
        collector.create()
        world = World(tmp_path, disk / "home", "embedded", collector, 20)
        market = Market(world, seed=3)
        try:
            with service(world, *NO_TESTS) as running:
                running.await_ticks(seconds=120)
                market.move()
                running.await_ticks(2)
                with full(disk):
                    for _ in range(20):
                        market.move()
                    running.await_log("No space left on device")
                running.await_ticks(2)
                assert running.end() == 0
            world.uri = world.run("warehouse", "uri").stdout.strip()
            market.check_nothing_is_half_done()
            world.settings["POSTGRESQL_URI"] = "embedded"
            world.sync_and_check()
        finally:
            world.uri = "embedded"
            world.run("warehouse", "stop")
