"""`tradehouse reconcile`, and staging that keeps the newest bars only."""

from __future__ import annotations

import pytest

from tests.support.collector import bar, series
from tests.support.services import service
from tests.support.world import World

# What differs between servers is tested with cycles; here it is what the pipeline does, and takes a while.
pytestmark = pytest.mark.only_on("embedded")

MONDAY = 1_736_121_600  # 2025-01-06 00:00 UTC
HOUR = 3600
BARS = 1500  # five days of M5 bars
KEPT = 1000


def staged(world: World, symbol: str = "eurusd") -> int:
    ((rows,),) = world.query(f"select count(*) from staging.{symbol}")
    return int(rows)


def reconciled(world: World, *arguments: str, code: int = 0) -> str:
    done = world.run("reconcile", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def counts(printed: str, symbol: str) -> list[int]:
    """The numbers of a symbol's line: bars in file, new, changed, not in file, candles off."""
    (line,) = [line for line in printed.splitlines() if line.split()[:1] == [symbol]]
    return [int(number.replace(",", "")) for number in line.split()[1:]]


def revised(timestamp: int) -> dict[str, object]:
    return bar(timestamp, close=9.5, high=10.0)


def row_versions(world: World) -> list[tuple[str, ...]]:
    tables = ["staging.eurusd", "eurusd_m5", "eurusd_h1", "eurusd_d1", "ops.pruned_bars"]
    return [
        row
        for table in tables
        for row in world.query(f"select '{table}', xmin::text, ctid::text from {table} order by 3")
    ]


@pytest.fixture
def pruned(world: World) -> World:
    """Five days of EURUSD, of which staging keeps the newest `KEPT` bars."""
    world.settings["STAGING_ROWS_PER_SYMBOL"] = str(KEPT)
    world.collector.write("EURUSD", series(MONDAY, BARS))
    world.sync_and_check()
    return world


def test_old_changes_in_the_file_are_found_and_repaired(world: World) -> None:
    world.collector.write("EURUSD", [each for each in series(MONDAY, 300) if each["timestamp"] != MONDAY + HOUR])
    world.collector.write("GBPUSD", series(MONDAY, 10))
    world.sync_and_check()
    world.collector.write("EURUSD", [revised(MONDAY), bar(MONDAY + HOUR)])
    world.collector.execute(f"delete from GBPUSD where timestamp = {MONDAY + 300}")
    assert ", 0 changed" in world.sync()  # older than the look-back

    runs = world.query("select count(*) from ops.sync_runs")
    printed = reconciled(world, "--dry-run")
    assert counts(printed, "EURUSD") == [300, 1, 1, 0, 0]
    assert counts(printed, "GBPUSD") == [9, 0, 0, 1, 0]
    assert "dry run: 2 bars would be landed, 0 candles repaired; nothing was written" in printed
    assert world.query("select count(*) from ops.sync_runs") == runs
    assert world.query("select count(*) from eurusd_h1 where close = 9.5") == [(0,)]

    printed = reconciled(world, "--symbol", "eurusd")
    assert counts(printed, "EURUSD") == [300, 1, 1, 0, 0]
    assert "done: 2 bars landed, 0 candles repaired" in printed
    assert world.query("select close from eurusd_d1 where timestamp = to_timestamp(%s)", MONDAY) == [(9.5,)]
    world.collector.write("GBPUSD", [bar(MONDAY + 300)])  # what only the warehouse has is kept
    world.check()
    assert world.query("select command, status, rows_changed from ops.sync_runs order by run_id desc limit 1") == [
        ("reconcile", "done", 2)
    ]
    before = row_versions(world)
    assert "done: 0 bars landed, 0 candles repaired" in reconciled(world)
    assert row_versions(world) == before


def test_candles_somebody_touched_are_repaired(world: World) -> None:
    world.collector.write("EURUSD", series(MONDAY, 300))
    world.sync_and_check()
    world.execute("delete from eurusd_h1 where extract(hour from timestamp at time zone 'UTC') = 3")
    world.execute("update eurusd_m5 set fractals = '{}' where timestamp in (select timestamp from eurusd_m5 limit 2)")
    world.execute(
        "insert into eurusd_d1 select * from eurusd_m30 where timestamp = (select max(timestamp) from eurusd_m30)"
    )
    assert counts(reconciled(world, "--dry-run"), "EURUSD") == [300, 0, 0, 0, 4]
    assert "done: 0 bars landed, 4 candles repaired" in reconciled(world)
    world.check()


def test_a_symbol_that_cannot_be_read_stops_no_other(world: World) -> None:
    world.collector.write("EURUSD", series(MONDAY, 300))
    world.collector.write("GBPUSD", series(MONDAY, 300))
    world.sync()
    world.collector.write("EURUSD", [revised(MONDAY)])
    world.collector.execute("alter table GBPUSD rename to GBPUSD_away")
    printed = reconciled(world, code=1)
    assert "gbpusd: the file has no table for this symbol" in printed
    assert "partial: 1 bars landed" in printed
    assert world.query("select close from eurusd_d1 where timestamp = to_timestamp(%s)", MONDAY) == [(9.5,)]


def test_an_unknown_symbol_is_refused(world: World) -> None:
    assert "EURUSDX is not configured; there are AUDJPY" in reconciled(world, "--symbol", "EURUSDX", code=2)


def test_staging_keeps_the_newest_bars_and_the_tables_all(pruned: World) -> None:
    assert staged(pruned) == KEPT
    assert pruned.query("select count(*) from ops.pruned_bars where symbol = 'eurusd'") == [(BARS - KEPT,)]
    pruned.collector.write("EURUSD", series(MONDAY + BARS * 300, 20))
    pruned.sync_and_check()
    assert staged(pruned) == KEPT


def test_no_full_refresh_takes_history(pruned: World) -> None:
    assert pruned.dbt("run", "--full-refresh", "--select", "eurusd_m5", "eurusd_h1", "eurusd_d1").returncode == 0
    pruned.check()
    pruned.execute("alter table eurusd_h1 drop constraint eurusd_h1_pkey")  # another shape: rebuilt and swapped
    pruned.execute("alter table eurusd_h1 add column note text")
    assert pruned.dbt("run", "--full-refresh", "--select", "eurusd_h1", "candles").returncode == 0
    pruned.execute("alter table eurusd_h1 drop column note")  # somebody's own, kept
    pruned.check()
    pruned.execute("truncate staging.eurusd")
    assert pruned.dbt("run", "--full-refresh", "--select", "eurusd_m5", "eurusd_d1").returncode == 0
    pruned.check()


def test_staging_is_not_pruned_before_all_tables_have_the_rows(world: World) -> None:
    world.settings["STAGING_ROWS_PER_SYMBOL"] = str(KEPT)
    world.execute("alter table eurusd_h1 drop constraint eurusd_h1_pkey")
    world.collector.write("EURUSD", series(MONDAY, BARS))
    world.collector.write("GBPUSD", series(MONDAY, BARS))
    assert "eurusd_h1: " in world.sync(code=1)
    assert (staged(world, "eurusd"), staged(world, "gbpusd")) == (BARS, KEPT)
    world.execute("alter table eurusd_h1 add primary key (timestamp)")
    world.sync_and_check()
    assert staged(world) == KEPT
    # one bar more is no reason to look for what is surplus; a hundredth of what is kept is
    world.collector.write("EURUSD", series(MONDAY + BARS * 300, 1))
    world.sync_and_check()
    assert staged(world) == KEPT + 1
    world.collector.write("EURUSD", series(MONDAY + (BARS + 1) * 300, KEPT // 100))
    world.sync_and_check()
    assert staged(world) == KEPT


def test_changes_of_pruned_bars_are_found_and_repaired(pruned: World) -> None:
    pruned.collector.write("EURUSD", [revised(MONDAY), revised(MONDAY + HOUR), bar(MONDAY + 2 * HOUR + 30)])
    assert ", 0 changed" in pruned.sync()
    # two bars are not as they were, one is new, and one of its minute is needed again
    assert counts(reconciled(pruned, "--dry-run"), "EURUSD") == [BARS + 1, 4, 0, 0, 0]
    assert counts(reconciled(pruned), "EURUSD") == [BARS + 1, 4, 0, 0, 0]
    pruned.check()
    assert staged(pruned) == KEPT
    before = row_versions(pruned)
    assert "done: 0 bars landed, 0 candles repaired" in reconciled(pruned)
    assert row_versions(pruned) == before


def test_a_pruned_minute_falls_back_to_its_older_bar(world: World) -> None:
    world.settings["STAGING_ROWS_PER_SYMBOL"] = str(KEPT)
    world.collector.write("EURUSD", [*series(MONDAY, BARS), bar(MONDAY + 30, close=5.0, high=6.0)])
    world.sync_and_check()
    world.collector.write(
        "EURUSD", [bar(MONDAY + 30, close=float("inf"), high=6.0)]
    )  # no price: the bar of 00:00 counts
    reconciled(world)
    world.check()


def test_the_service_reconciles_by_itself(world: World) -> None:
    world.collector.write("EURUSD", series(MONDAY, 300))
    world.sync()
    world.collector.write("EURUSD", [revised(MONDAY)])
    world.execute("update ops.sync_runs set started_at = started_at - interval '2 hours'")
    with service(world, "--reconcile-every", "1") as running:
        running.await_log("done: 1 bars landed, 0 candles repaired")
        running.await_log("changed, 0 rejected, 0 models built", times=2)
        assert running.end() == 0
        assert running.log.count("reconciled in") == 1
    world.check()
