"""What can stand in a SQLite file, or where one is expected: each fails alone, in a line that says what it is."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from tests.support.collector import SYMBOLS, Collector, bar, series
from tests.support.trading import M5, MONDAY
from tests.support.world import World

DBL_MAX = 1.7976931348623157e308
HOURS_AHEAD = 3
# a process of its own, because a child's peak counts what its parent held when it began
PEAK = (
    "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:]);"
    " print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(done.returncode)"
)


@pytest.fixture(autouse=True)
def _last_collector_closed(world: World) -> Iterator[None]:
    yield
    world.collector.close()


@pytest.mark.only_on("embedded")
def test_a_view_of_a_table_that_is_gone_stops_no_symbol(world: World) -> None:
    for symbol in SYMBOLS:
        world.collector.write(symbol, series(MONDAY, 3))
    world.collector.execute("create view v as select * from nosuch")
    printed = world.sync_and_check()
    assert "45 changed" in printed
    assert "ignored tables: v\n" in printed
    shown = world.run("query", "select count(*) as bars from mt5.bars", "--format", "csv")
    assert (shown.returncode, shown.stdout.split()) == (0, ["bars", "45"])
    assert shown.stderr == "note: v of the file cannot be read: no such table: main.nosuch\n"


@pytest.mark.only_on("embedded")
def test_a_symbol_whose_view_is_broken_fails_alone(world: World) -> None:
    world.collector.drop("GBPUSD")
    world.collector.execute("create view GBPUSD as select * from nosuch")
    world.collector.write("EURUSD", series(MONDAY, 3))
    printed = world.sync(code=1)
    assert "GBPUSD: GBPUSD cannot be read: no such table: main.nosuch" in printed
    assert "3 changed" in printed
    world.check()


@pytest.mark.only_on("embedded")
def test_a_nul_in_a_key_is_a_reject(world: World) -> None:
    world.collector.execute("create table plain as select * from EURUSD")
    world.collector.drop("EURUSD")
    world.collector.execute("alter table plain rename to EURUSD")
    world.collector.write("EURUSD", [*series(MONDAY, 3), bar(MONDAY + 3 * M5) | {"timestamp": "17\x00x"}])
    assert " 1 rejected" in world.sync_and_check()
    assert world.query("select row_key, column_name, original from ops.rejected_rows") == [
        ("17\\0x", "timestamp", world.query("select original from ops.rejected_rows")[0][0])
    ]
    world.sync_and_check()


@pytest.mark.only_on("embedded")
def test_names_that_no_terminal_shows_are_escaped(world: World) -> None:
    world.collector.write("EURUSD", series(MONDAY, 3))
    world.collector.execute("create table 'bell\a and \033[31m red' (x)")
    world.collector.execute("create table broken (x)")
    world.collector.execute("pragma writable_schema = on")
    world.collector.execute(
        "update sqlite_master set name = 'no' || cast(x'ff' as text), tbl_name = 'no' || cast(x'ff' as text),"
        " sql = 'create table \"no' || cast(x'ff' as text) || '\" (x)' where name = 'broken'"
    )
    printed = world.sync()
    assert "3 changed" in printed
    assert r"ignored tables: bell\x07 and \x1b[31m red, no\xff" in printed
    shown = world.run("query", "select count(*) from mt5.EURUSD")
    assert shown.returncode == 0, shown.stderr
    assert r"note: no\xff of the file cannot be read: its name is no UTF-8" in shown.stderr


@pytest.mark.only_on("embedded")
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_regular_file_is_refused_at_once(world: World, kind: str) -> None:
    path = Path(os.devnull)
    if kind == "pipe":
        path = world.directory / "pipe.db"
        os.mkfifo(path)
    world.settings["SQLITE_PATH"] = str(path)
    started = time.monotonic()
    assert f"SQLITE_PATH: {path} is no regular file" in world.sync(code=2)
    assert time.monotonic() - started < 60


@pytest.mark.only_on("debian")  # such a root cannot reach the embedded server's socket
def test_a_wal_file_in_a_directory_that_cannot_be_written(world: World) -> None:
    # root without the capabilities that let it write everywhere
    wrapper = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--") if os.geteuid() == 0 else ()
    if wrapper and shutil.which(wrapper[0]) is None:
        pytest.skip("root may write everywhere, and setpriv is not installed")
    folder = world.directory / "closed"
    folder.mkdir()
    with Collector(folder / "wal.db") as collector:
        collector.create()
        collector.close()  # which takes -wal and -shm along
    world.settings["SQLITE_PATH"] = str(folder / "wal.db")
    folder.chmod(0o555)
    run = world.start_alone("sync", wrapper=wrapper)
    printed = run.communicate(timeout=120)[0]
    folder.chmod(0o755)
    assert run.returncode == 2, printed
    assert "it is in WAL mode, where a reader needs wal.db-shm" in printed
    assert f"in {folder}: start the collector, or let this user write to that directory" in printed
    assert world.start_alone("sync", wrapper=wrapper).wait(120) == 0


@pytest.mark.only_on("embedded")
@pytest.mark.parametrize("fault", ["milliseconds", "no price"])
def test_a_symbol_of_rejects_only_is_partial_until_a_bar_comes(world: World, fault: str) -> None:
    rows = series(MONDAY, 3)
    if fault == "milliseconds":
        rows = [row | {"timestamp": (MONDAY + place * M5) * 1000} for place, row in enumerate(rows)]
    else:
        rows = [row | {"open": DBL_MAX} for row in rows]
    world.collector.write("EURUSD", rows)
    for _ in range(2):
        assert "EURUSD: table EURUSD has no bar, only rejects: 3 rows" in world.sync(code=1)
    reason = "select distinct reason from ops.sync_health where symbol = 'eurusd'"
    assert all("only rejects" in reason for (reason,) in world.query(reason))
    world.collector.write("EURUSD", [bar(MONDAY + 5 * M5)])
    world.sync_and_check()


@pytest.mark.only_on("embedded")
def test_a_bar_of_the_future_that_is_deleted_leaves_the_tables(world: World) -> None:
    now = int(datetime.now(timezone.utc).timestamp())
    hour = now // 3600 * 3600
    future = hour + HOURS_AHEAD * 3600
    past = series(hour - 24 * M5, 24)
    world.collector.write("EURUSD", [*past, bar(future), bar(future + M5)])
    world.sync_and_check()
    assert world.query("select to_timestamp(%s) = max(timestamp) from eurusd_h1", future) == [(True,)]

    # of what the file loses, the past is history, and what has not been yet goes
    kept = world.directory / "kept.db"
    world.collector.execute("delete from EURUSD where timestamp = ?", [future])
    world.collector.execute("pragma wal_checkpoint(truncate)")
    shutil.copy(world.sqlite_path, kept)
    world.collector.execute("delete from EURUSD where timestamp = ?", [past[-2]["timestamp"]])
    assert "1 changed" in world.sync()
    world.check(kept)
    assert world.query("select count(*) from staging.eurusd") == [(25,)]
    assert world.query("select max(timestamp) < now() from eurusd_h1") == [(True,)]

    world.collector.execute("delete from EURUSD where timestamp = ?", [future + M5])
    with Collector(kept) as collector:
        collector.execute("delete from EURUSD where timestamp = ?", [future + M5])
        collector.execute("pragma journal_mode = delete")
    printed = world.sync("--test", code=0)
    assert "1 changed" in printed
    world.check(kept)
    assert "0 changed" in world.sync()


@pytest.mark.only_on("embedded")
def test_a_huge_value_is_a_reject_with_its_length_and_beginning(world: World) -> None:
    newest = MONDAY + 3 * M5
    world.collector.write("EURUSD", series(MONDAY, 3))
    world.collector.write("EURUSD", [bar(newest, zigzag='{"peaks":[]}', tema=1.5)])
    world.collector.execute("update EURUSD set zigzag = hex(zeroblob(20000000)), hrma = 'x' || hex(zeroblob(600000))")
    process = world.start_alone("sync", wrapper=(sys.executable, "-c", PEAK))
    printed, _ = process.communicate()
    assert process.returncode == 0, printed
    assert " 8 rejected" in printed
    assert int(printed.split()[-1]) < 300_000, "SQLite may hold one value of 40 MB twice, DuckDB none"
    assert world.query("select distinct column_name, reason, original from ops.rejected_rows order by 1") == [
        ("hrma", "longer than MAX_VALUE_BYTES", "1200001 bytes: x" + "0" * 199),
        ("zigzag", "longer than MAX_VALUE_BYTES", "40000000 bytes: " + "0" * 200),
    ]
    assert world.query("select tema, hrma, zigzag from eurusd_m5 order by timestamp desc limit 1") == [
        (1.5, None, None)
    ]

    world.settings["MAX_VALUE_BYTES"] = "1000"
    world.collector.write("EURUSD", [bar(newest + M5, zigzag='{"peaks":["' + "é" * 600 + '"]}')])
    world.sync()
    ((reason, original),) = world.query(
        f"select reason, original from ops.rejected_rows where row_key = '{newest + M5}' and resolved_at is null"
    )
    assert (reason, original[:30]) == ("longer than MAX_VALUE_BYTES", '1214 bytes: {"peaks":["' + "é" * 7)


@pytest.mark.only_on("embedded")
@pytest.mark.parametrize("read", ["timestamp", "count(*) as timestamp"], ids=["endless rows", "no row"])
def test_a_view_that_never_ends_fails_alone(world: World, read: str) -> None:
    world.collector.drop("GBPUSD")
    world.collector.execute(
        "create view GBPUSD as with recursive numbers (timestamp) as"
        f" (select 1 union all select timestamp + 1 from numbers) select {read} from numbers"
    )
    world.collector.write("EURUSD", series(MONDAY, 3))
    assert "GBPUSD: view GBPUSD has not ended after 5 seconds" in world.sync(code=1)
    assert world.query("select count(*) from staging.eurusd") == [(3,)]
