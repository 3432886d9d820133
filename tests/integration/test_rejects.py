"""`tradehouse rejects`, and rejects that are resolved, dismissed and found again, however many are open."""

from __future__ import annotations

import json
import time

import pytest

from tests.support.accounts_world import AccountsWorld
from tests.support.collector import bar, series
from tests.support.fake_mt5 import info, position, trade
from tests.support.world import World

pytestmark = pytest.mark.only_on("embedded")

MONDAY = 1_736_121_600  # 2025-01-06 00:00 UTC
OPEN = "select entity, row_key, column_name from ops.rejected_rows where resolved_at is null order by 1, 2, 3"


def rejects(world: World, *arguments: str, code: int = 0) -> str:
    done = world.run("rejects", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def stored(world: World, symbol: str, first: int, count: int, column: str = "tema") -> None:
    """Put so many open rejects on record, one a minute from a moment on."""
    world.execute(
        "insert into ops.rejected_rows (source, entity, row_key, column_name, reason, original, extracted_at)"
        f" select 'mt5', '{symbol}', ({first} + 60 * number)::text, '{column}', 'not a number', 'abc', now()"
        f" from generate_series(0, {count - 1}) as number"
    )


def test_a_tick_does_not_pay_for_open_rejects(world: World) -> None:
    world.collector.write("EURUSD", series(MONDAY, 50))
    world.sync_and_check()
    world.sync()
    began = time.monotonic()
    world.sync()
    without = time.monotonic() - began
    stored(world, "eurusd", MONDAY - 90_000 * 60, 90_000)
    world.collector.write("EURUSD", [bar(MONDAY + 49 * 300, tema="abc", close=1.3)])
    began = time.monotonic()
    world.sync_and_check()
    assert time.monotonic() - began < without + 10  # 60 s when they were loaded into DuckDB row by row
    assert len(world.query(OPEN)) == 90_001


def test_reconcile_resolves_rejects_whose_bar_has_left_the_file(world: World) -> None:
    bad = [bar(MONDAY + 300, tema="abc"), bar(-60), bar(MONDAY + 30 * 86_400, hrma="abc", close="x")]
    world.collector.write("EURUSD", [*series(MONDAY, 1), *bad])
    world.collector.write("GBPUSD", [bar(MONDAY, tema="abc")])
    world.sync_and_check()
    in_file = world.query(OPEN)
    assert len(in_file) == 5
    # in a gap, before the first bar, behind the last; of a row that has no time; of another column
    for first in (MONDAY + 10 * 86_400, 5, MONDAY + 50 * 86_400):
        stored(world, "eurusd", first, 2)
    stored(world, "eurusd", MONDAY + 300, 1, "smma")
    world.execute(
        "insert into ops.rejected_rows (source, entity, row_key, column_name, reason, original, extracted_at)"
        " values ('mt5', 'eurusd', 'soon', 'timestamp', 'no time', 'soon', now())"
    )
    open_before = world.query(OPEN)
    assert world.run("reconcile", "--dry-run").returncode == 0
    assert world.query(OPEN) == open_before
    done = world.run("reconcile")
    assert done.returncode == 0, done.stderr
    assert world.query(OPEN) == in_file
    versions = "select row_key, column_name, xmin::text from ops.rejected_rows order by 1, 2"
    before = world.query(versions)
    assert world.run("reconcile").returncode == 0
    assert world.query(versions) == before, "nothing has changed, and so nothing is written"


def test_a_dismissed_reject_comes_back_with_another_value_only(world: World) -> None:
    times = [str(MONDAY + 300 * number) for number in range(3)]
    world.collector.write("EURUSD", [bar(MONDAY + 300 * number, tema="abc", close="x") for number in range(3)])
    world.collector.write("EURUSD", [bar(MONDAY + 900)])  # a table of rejects only would fail
    world.sync()
    listed = json.loads(rejects(world, "list", "--json", "--limit", "2"))
    assert (listed["open"], len(listed["rejects"])) == ({"mt5": 6}, 2)
    printed = rejects(world, "list", "--source", "mt5", "--limit", "5")
    assert "open rejects: mt5 6; --limit shows more than 5" in printed
    assert "not a number" in printed
    assert "there are no open rejects" in rejects(world, "list", "--source", "bybit")

    assert "Missing option '--source'" in rejects(world, "dismiss", code=2)
    assert "this would dismiss every reject of mt5" in rejects(world, "dismiss", "--source", "mt5", code=2)
    assert "not both" in rejects(world, "dismiss", "--source", "mt5", "--all", "--key", "1", code=2)
    chosen = ("--source", "mt5", "--entity", "eurusd", "--key", times[1])
    assert "dry run: 2 open rejects would be dismissed" in rejects(world, "dismiss", *chosen, "--dry-run")
    assert len(world.query(OPEN)) == 6
    assert "2 rejects dismissed" in rejects(world, "dismiss", *chosen)
    assert "no open reject matches. open rejects: mt5 4" in rejects(world, "dismiss", *chosen)
    remaining = [("eurusd", key, column) for key in (times[0], times[2]) for column in ("close", "tema")]
    assert world.query(OPEN) == remaining
    assert {key for (key,) in world.query("select bar_key from ops.rejected_bars")} == {times[0], times[2]}

    world.collector.write("EURUSD", [bar(MONDAY + 300, tema="abc", close="x", smma=5.0)])
    for command in ("sync", "reconcile"):
        assert world.run(command).returncode == 0
        assert world.query(OPEN) == remaining, "the values are as they were"
    world.collector.write("EURUSD", [bar(MONDAY + 300, tema="def", close="x")])
    world.sync()
    assert world.query(OPEN) == sorted([*remaining, ("eurusd", times[1], "tema")])
    world.collector.write("EURUSD", [bar(MONDAY + 300, tema="def", close=1.2)])
    world.sync()
    [(dismissed, resolved)] = world.query(
        "select dismissed_at is not null, resolved_at is not null from ops.rejected_rows"
        f" where row_key = '{times[1]}' and column_name = 'close'"
    )
    assert (dismissed, resolved) == (False, True), "a value that can be used is nobody's judgement any more"
    world.collector.write("EURUSD", [bar(MONDAY + 300, tema="def", close="x")])
    world.sync()
    assert ("eurusd", times[1], "close") in world.query(OPEN)
    assert "6 rejects dismissed" in rejects(world, "dismiss", "--source", "mt5", "--all")
    assert world.query("select count(*) from ops.rejected_bars") == [(0,)]
    # kept for as long as the source may send them, where others go after 30 days
    world.execute("update ops.rejected_rows set resolved_at = now() - interval '40 days'")
    world.execute("alter table ops.sync_runs alter column run_id restart with 1000")
    world.sync()
    assert world.query("select count(*) from ops.rejected_rows") == [(6,)]
    assert world.query(OPEN) == []


def test_dismissed_rejects_make_no_account_partial(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    world.register("a")
    closed = time.time() - 1800
    world.fake.account(
        "a", info(1000), [position(1), position(2, volume="x")], [trade(9, closed), trade(8, closed, volume="x")]
    )
    world.poll(code=1)
    assert [key for _, key, _ in world.query(OPEN)] == ["history 8", "positions 2"]
    rejects(world, "dismiss", "--source", "accounts", "--key", "history 8")
    assert world.poll(code=1)["a"]["error_message"] == "positions: volume of ticket 2: input should be a valid number"
    rejects(world, "dismiss", "--source", "accounts", "--entity", "a")
    assert world.poll()["a"]["error_message"] is None
    world.fake.account("a", positions=[position(2, volume="y")])
    assert world.poll(code=1)["a"]["status"] == "partial"
    world.fake.account("a", positions=[position(2)])
    world.poll()
    assert world.statuses("a") == {"1": "closing", "2": "open", "9": "closed"}
