"""The stages by themselves: files between them, what is killed goes on, options, and what cannot work."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import psutil  # type: ignore[import-untyped]
import pytest

from extract.warehouse import holding_run_lock
from tests.support.indicator_oracle import walk
from tests.support.indicators_world import IndicatorsWorld

pytestmark = pytest.mark.only_on("embedded")


def await_(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def pending(world: IndicatorsWorld) -> list[Path]:
    return sorted((world.files / "pending").glob("*"))


def archived(world: IndicatorsWorld) -> list[Path]:
    return sorted((world.files / "archive").glob("*.parquet"))


def rows_in(files: list[Path]) -> list[tuple[int, str, int]]:
    """Rows per series and file."""
    found: list[tuple[int, str, int]] = []
    for file in files:
        with duckdb.connect() as session:
            found += session.execute(
                f"select instrument_id, timeframe, count(*) from '{file}' group by all order by all"
            ).fetchall()
    return sorted(found)


def test_compute_leaves_files_and_load_takes_them(indicators_world: IndicatorsWorld) -> None:
    world = indicators_world
    world.write(1, "1m", walk(1, 400))
    world.write(2, "5m", walk(2, 300, "5m"))
    assert "2 series computed of 700 candles: 700 rows in 1 files" in world.indicators("compute")
    assert world.query("select count(*) from market.indicator_data") == [(0,)]
    assert len(pending(world)) == 1
    # what waits is not computed again
    assert "0 series computed" in world.indicators("compute")
    assert "1 files wait to be loaded" in world.indicators("test")
    assert "0 candles read, 700 changed" in world.indicators("load")
    world.check()
    assert pending(world) == []
    assert rows_in(archived(world)) == [(1, "1m", 400), (2, "5m", 300)]
    before = world.versions()
    assert "0 changed" in world.indicators("load")
    assert world.versions() == before
    assert "0 series have changed: 0 candles" in world.indicators("test")


def test_a_file_that_was_loaded_but_not_archived_changes_nothing(indicators_world: IndicatorsWorld) -> None:
    world = indicators_world
    world.write(1, "1m", walk(1, 400))
    world.indicators("run", "--keep")
    before = world.versions()
    [file] = archived(world)
    shutil.copy(file, world.files / "pending" / file.name)  # as a kill between commit and rename leaves it
    assert "0 candles read, 0 changed" in world.indicators("run")
    assert world.versions() == before
    assert pending(world) == []


def test_a_killed_command_goes_on_and_computes_nothing_twice(indicators_world: IndicatorsWorld) -> None:
    world = indicators_world
    for instrument in range(1, 7):
        world.write(instrument, "1m", walk(instrument, 30_000))
    process = world.start("indicators", "run", "--workers", "2")
    await_(lambda: len(archived(world)) >= 1)
    workers = psutil.Process(process.pid).children(recursive=True)
    assert workers
    process.kill()
    process.communicate()
    psutil.wait_procs(workers, timeout=60)
    assert not [worker for worker in workers if worker.is_running()]
    assert 0 < len(rows_in(archived(world))) < 6
    world.indicators("run", "--workers", "2")
    world.check()
    # every series is in one file, with all its rows
    assert rows_in(archived(world)) == [(instrument, "1m", 30_000) for instrument in range(1, 7)]


def test_a_killed_load_goes_on(indicators_world: IndicatorsWorld) -> None:
    world = indicators_world
    for instrument in range(1, 5):
        world.write(instrument, "1m", walk(instrument, 30_000))
    world.indicators("compute")
    assert len(pending(world)) == 2
    process = world.start("indicators", "load")
    await_(lambda: len(archived(world)) == 1)
    process.kill()
    process.communicate()
    world.indicators("load")
    world.check()
    assert pending(world) == []


def test_a_killed_worker_fails_its_batch_alone(indicators_world: IndicatorsWorld) -> None:
    world = indicators_world
    for instrument in range(1, 4):
        world.write(instrument, "1m", walk(instrument, 40_000))
    process = world.start("indicators", "run", "--workers", "1")

    def worker() -> list[psutil.Process]:
        return [
            child
            for child in psutil.Process(process.pid).children()
            if "indicators.worker" in child.cmdline() and list((world.files / "pending").glob("*.part"))
        ]

    await_(worker)
    os.kill(worker()[0].pid, signal.SIGKILL)
    printed, _ = process.communicate()
    assert process.returncode == 1, printed
    assert "a worker ended with code -9" in printed
    assert "Traceback" not in printed
    world.indicators("run")
    world.check()
    assert rows_in(archived(world)) == [(instrument, "1m", 40_000) for instrument in range(1, 4)]


def test_a_damaged_file_fails_alone_and_is_computed_again(indicators_world: IndicatorsWorld) -> None:
    world = indicators_world
    world.write(1, "1m", walk(1, 400))
    world.indicators("compute")
    [file] = pending(world)
    file.write_bytes(file.read_bytes()[:-100])
    world.write(2, "1m", walk(2, 400))
    printed = world.indicators("run", code=1)
    assert f"{file.name}: {file.name} is damaged" in printed
    assert "800 candles read, 800 changed" in printed
    world.check()
    assert [path.suffix for path in pending(world)] == [".damaged"]


def test_rows_that_do_not_fit_the_table_stay_in_their_file(indicators_world: IndicatorsWorld) -> None:
    world = indicators_world
    world.write(1, "1m", walk(1, 400))
    world.execute("alter table market.indicator_data add constraint low check (obv < 0)")
    printed = world.indicators("run", code=1)
    assert "the next run loads it" in printed
    assert len(pending(world)) == 1
    assert world.query("select count(*) from staging.indicator_marks") == [(0,)]
    world.execute("alter table market.indicator_data drop constraint low")
    assert "0 candles read, 400 changed" in world.indicators("run")
    world.check()


def test_only_the_types_asked_for_are_computed(indicators_world: IndicatorsWorld) -> None:
    world = indicators_world
    world.write(1, "1d", walk(1, 300, "1d"))
    world.write(2, "1d", walk(2, 300, "1d"), "INDEX")
    assert "300 candles read" in world.indicators("run", "--type", "INDEX")
    assert world.query("select distinct instrument_id from market.indicator_data") == [(2,)]
    assert "300 candles read" in world.indicators("run")
    world.check()
    assert "Invalid value for '--type'" in world.indicators("run", "--type", "STOCK", code=2)


def test_no_resume_computes_all_again_and_writes_only_what_differs(indicators_world: IndicatorsWorld) -> None:
    world = indicators_world
    bars = walk(1, 500)
    world.write(1, "1m", bars)
    world.indicators("run")
    before = world.versions()
    place = f"timestamp = timestamptz 'epoch' + {bars.loc[300, 'at']} * interval '1 microsecond'"
    world.execute(f"update market.indicator_data set ema_9 = 1 where {place}")
    printed = world.indicators("run", "--no-resume", "--json")
    assert json.JSONDecoder().raw_decode(printed)[0]["rows_changed"] == 1
    world.check()
    assert [row[:3] for row in world.versions()] == [row[:3] for row in before]
    changed = [old[2] for old, new in zip(before, world.versions(), strict=True) if old != new]
    assert len(changed) == 1


def test_an_emptied_table_is_filled_again(indicators_world: IndicatorsWorld) -> None:
    world = indicators_world
    world.write(1, "1m", walk(1, 400))
    world.indicators("run")
    world.execute("truncate market.indicator_data")
    assert "400 candles read, 400 changed" in world.indicators("run")
    world.check()
    # marks of before do not come back with the first rows
    world.write(2, "1m", walk(2, 100), "INDEX")
    world.execute("truncate market.indicator_data")
    world.indicators("run", "--type", "INDEX")
    assert "400 candles read, 400 changed" in world.indicators("run")
    world.check()
    world.execute("drop table market.indicator_data")
    assert "500 candles read, 500 changed" in world.indicators("run")
    world.check()


def test_loading_watches_for_files(indicators_world: IndicatorsWorld) -> None:
    world = indicators_world
    world.write(1, "1m", walk(1, 400))
    process = world.start("indicators", "load", "--watch", "--interval", "1")
    computing = world.start("indicators", "compute", "--watch", "--interval", "1")
    await_(lambda: len(archived(world)) == 1)
    world.write(1, "1m", walk(1, 500).iloc[400:])
    await_(lambda: len(archived(world)) == 2)
    for each in (process, computing):
        each.send_signal(signal.SIGTERM)
        printed, _ = each.communicate(timeout=60)
        assert each.returncode == 0, printed
    world.check()


def test_all_anew_for_ever_is_an_error(indicators_world: IndicatorsWorld) -> None:
    for command in ("compute", "run"):
        printed = indicators_world.indicators(command, "--no-resume", "--watch", code=2)
        assert "it does not go together with --watch" in printed


def test_a_second_computation_leaves_the_first_alone(indicators_world: IndicatorsWorld) -> None:
    world = indicators_world
    world.write(1, "1m", walk(1, 400))
    with world.connection() as connection:
        connection.autocommit = True
        with holding_run_lock(connection, "indicators compute"):
            assert "another run of indicators compute holds the lock" in world.indicators("compute")
            assert "nothing computed: another run of indicators compute" in world.indicators("run")
    assert world.query("select count(*) from market.indicator_data") == [(0,)]


def test_without_candles_there_is_one_line(indicators_world: IndicatorsWorld) -> None:
    world = indicators_world
    world.execute("drop table market.candle_data cascade")
    for command in ("test", "compute", "run"):
        printed = world.indicators(command, code=2)
        assert "error: there is no table market.candle_data yet: run `tradehouse upstox sync` first" in printed


def test_a_home_that_cannot_be_written_is_one_line(indicators_world: IndicatorsWorld) -> None:
    world = indicators_world
    world.write(1, "1m", walk(1, 10))
    world.files.write_text("no directory")
    try:
        assert "cannot be made" in world.indicators("compute", code=2)
    finally:
        world.files.unlink()


def test_no_password_shows_in_the_list_of_processes(indicators_world: IndicatorsWorld) -> None:
    world = indicators_world
    world.write(1, "1m", walk(1, 30_000))
    process = world.start("indicators", "compute")
    children: list[psutil.Process] = []

    def started() -> bool:
        children[:] = psutil.Process(process.pid).children() if process.poll() is None else []
        return bool(children) or process.poll() is not None

    await_(started)
    lines = [" ".join(child.cmdline()) for child in children]
    process.communicate()
    assert lines
    assert not [line for line in lines if "postgres" in line]
