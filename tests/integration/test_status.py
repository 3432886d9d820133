"""`tradehouse status`: whether everything is current, and if not, what is late; what run records are kept for."""

from __future__ import annotations

import time
from datetime import datetime, timezone

import pytest

from extract.refresh import missing_models
from extract.settings import load_project
from tests.conftest import Server
from tests.support.collector import Collector, series
from tests.support.status import MONDAY, demo_file, printed, status, table, verdicts
from tests.support.world import World

HEALTHY = ("audusd", "eurusd", "gbpjpy", "ndx100", "nzdusd", "us30", "usdcad", "usdchf", "usdjpy", "xagusd", "xauusd")


def test_the_demo_is_current_on_whatever_day_it_is_made(world: World) -> None:
    demo_file(world)
    world.sync()
    text = printed(world, code=0)
    assert f"all {len(load_project().candle_tables)} tables are current" in text
    assert "all sources are current" in text
    assert "Newest bar per table (UTC) and row count; `!` = behind" in text
    assert text.split("Last runs")[0].count("!") == 2  # the legends of the two tables

    state = status(world, code=0)
    assert list(state) == ["ok", "as_of", "grace_minutes", "problems", "sources", "tables", "symbols", "runs"]
    assert (state["grace_minutes"], state["problems"]) == (5, [])
    assert state["as_of"].endswith("+00:00")
    assert len(state["tables"]) == len(load_project().candle_tables)
    m5 = table(state, "btcusd", "M5")
    assert m5["newest"].endswith(":00+00:00")
    assert m5["expected"] <= m5["newest"]
    [(rows,)] = world.query("select count(*) from btcusd_m5")
    assert m5 == {
        **{"symbol": "btcusd", "timeframe": "M5", "rows": rows, "newest": m5["newest"], "expected": m5["expected"]},
        **{"lag_seconds": 0.0, "status": "current", "reason": None},
    }
    [btcusd] = [symbol for symbol in state["symbols"] if symbol["symbol"] == "btcusd"]
    assert list(btcusd) == [
        *("symbol", "status", "source_newest", "rejects", "last_change_at", "last_error", "last_error_at")
    ]
    assert (btcusd["status"], btcusd["source_newest"], btcusd["last_error"]) == ("ok", m5["newest"], None)
    assert list(state["runs"][0]) == [
        *("run_id", "command", "status", "started_at", "finished_at", "seconds", "rows_read", "rows_changed"),
        *("rows_rejected", "models_built", "models_failed", "error"),
    ]
    assert [run["status"] for run in state["runs"]] == ["done", "done"]
    [mt5] = state["sources"]
    assert mt5 == {
        **{"source": "mt5", "last_run_id": 2, "last_status": "done", "last_ended_at": state["runs"][0]["finished_at"]},
        **{"last_success_at": mt5["last_ended_at"], "due_again_at": None, "verdict": "current", "reason": None},
    }
    assert (
        state["runs"][0]["rows_changed"] == world.query("select rows_changed from ops.sync_runs where run_id = 2")[0][0]
    )


@pytest.mark.only_on("embedded")
def test_each_trouble_is_named_and_leaves_the_rest_current(world: World) -> None:
    now = int(time.time())
    newest_of_btcusd = (now - 3600) // 300 * 300
    with Collector(demo_file(world)) as collector:
        collector.execute(f"delete from BTCUSD where timestamp > {newest_of_btcusd}")
        collector.execute("delete from ETHUSD where timestamp % 86400 = 0")
        collector.execute(
            f"update ETHUSD set tema = 'much' where timestamp >= {now - 86_000} and timestamp % 14400 = 0"
        )
        collector.execute("delete from GBPUSD")
        collector.drop("AUDJPY")
    world.sync(code=1)

    state = status(world, code=1)
    assert verdicts(state, HEALTHY) == {"current"}
    assert verdicts(state, ["audjpy"]) == {"failed"}
    assert verdicts(state, ["gbpusd"]) == {"late"}
    assert table(state, "gbpusd", "H1")["reason"] == "the source has no bar yet"
    late = table(state, "btcusd", "M5")
    assert (late["status"], late["reason"]) == (
        "late",
        f"the newest bar of the source is of {minute(newest_of_btcusd)} UTC",
    )
    assert late["lag_seconds"] in (3300, 3600)  # the due bar may have changed meanwhile
    gap = table(state, "ethusd", "D1")
    assert (gap["status"], gap["rows"], gap["lag_seconds"]) == ("gap", 0, None)
    assert table(state, "ethusd", "M5")["status"] == "current"
    symbols = {symbol["symbol"]: symbol for symbol in state["symbols"]}
    assert (symbols["audjpy"]["status"], symbols["gbpusd"]["status"]) == ("missing", "empty")
    assert symbols["audjpy"]["last_error"].startswith("the file has no table for this symbol")
    [(rejects,)] = world.query(
        "select count(*) from ops.rejected_bars where symbol = 'ethusd' and column_name = 'tema'"
    )
    assert symbols["ethusd"]["rejects"] == rejects in (4, 5)
    assert state["runs"][0]["status"] == "partial"

    text = printed(world, code=1)
    assert "! AUDJPY failed: the file has no table for this symbol" in text
    assert "! GBPUSD late: the source has no bar yet" in text
    # from midnight to one, UTC, all nine tables lack the bar of midnight, and one line says it of the symbol
    assert "! BTCUSD M5" in text or "! BTCUSD late" in text
    assert f"late: the newest bar of the source is of {minute(newest_of_btcusd)} UTC" in text
    assert "+55m" in text or "+60m" in text

    # a longer grace lets the hour pass, for this look only
    patient = status(world, "--grace", "180", code=1)
    assert verdicts(patient, ["btcusd"]) == {"current"}
    assert patient["grace_minutes"] == 180

    # landed, but taken from the table
    world.execute(f"delete from ethusd_h1 where timestamp > to_timestamp({now - 3 * 3600})")
    unbuilt = table(status(world, code=1), "ethusd", "H1")
    assert (unbuilt["status"], unbuilt["reason"]) == (
        "unbuilt",
        "its newest bar is in staging and not yet in the table",
    )

    # the pipeline has stood still for an hour: that is said first, once, and nothing that is current is blamed
    world.execute(
        "update ops.sync_runs"
        " set started_at = started_at - interval '1 hour', finished_at = finished_at - interval '1 hour'"
    )
    stopped = status(world, code=1)
    assert verdicts(stopped, ["audjpy", "gbpusd"]) == {"unread"}
    assert verdicts(stopped, HEALTHY) == {"current"}
    [(since,)] = world.query(
        "select to_char(max(started_at) at time zone 'UTC', 'YYYY-MM-DD HH24:MI') from ops.sync_runs"
    )
    assert f"unread: no run has read the source since {since} UTC" in stopped["problems"][0]
    assert len([problem for problem in stopped["problems"] if "no run has" in problem]) == 1


def minute(timestamp: int) -> str:
    return f"{datetime.fromtimestamp(timestamp, timezone.utc):%Y-%m-%d %H:%M}"


@pytest.mark.only_on("embedded")
def test_runs_that_fail_or_stop_are_problems_although_all_tables_are_current(world: World) -> None:
    demo_file(world)
    world.sync()
    assert status(world, code=0)["problems"] == []
    world.execute(
        "insert into ops.sync_runs (source, command, status, started_at, finished_at, error, models_failed) values"
        " ('mt5', 'run', 'failed', now(), now(), 'the disk is full', 0),"
        " ('mt5', 'run', 'interrupted', now(), now(), null, 0), ('mt5', 'run', 'running', now(), null, null, 0)"
    )
    assert status(world, code=1)["problems"] == ["mt5 failed: the last run failed: the disk is full"]
    assert "the disk is full" in printed(world, code=1)
    world.execute("update ops.sync_runs set status = 'partial', error = 'a test' where status = 'failed'")
    assert status(world, code=1)["problems"] == ["mt5 partial: the last run was partial: a test"]
    world.execute("delete from ops.sync_runs where status <> 'done'")
    world.execute("update ops.sync_runs set finished_at = '2025-01-06 12:00+00'")
    assert status(world, code=1)["problems"] == ["mt5 no run has ended since 2025-01-06 12:00 UTC"]


def test_a_fresh_database_says_what_to_do(world: World, server: Server) -> None:
    world.uri = server.fresh_database("template1")
    state = status(world, code=1)
    assert state["problems"] == ["no run yet: tradehouse sync"]
    assert {(each["status"], each["rows"]) for each in state["tables"]} == {("missing", None)}
    assert {(each["status"], each["rejects"]) for each in state["symbols"]} == {(None, None)}
    assert state["runs"] == []
    assert "! no run yet: tradehouse sync" in printed(world, code=1)


@pytest.mark.only_on("embedded")
def test_one_missing_table_is_one_line(world: World) -> None:
    demo_file(world)
    world.sync()
    world.execute("drop table public.eurusd_m5 cascade")  # takes the view `candles` along
    state = status(world, code=1)
    assert table(state, "eurusd", "M5")["status"] == "missing"
    assert {each["status"] for each in state["tables"] if each != table(state, "eurusd", "M5")} == {"current"}
    assert state["problems"] == [
        "public.candles missing: there is no such view or table; the next sync builds it",
        "EURUSD M5 missing: there is no such table; the next sync builds it",
    ]
    assert "! EURUSD M5 missing: there is no such table; the next sync builds it" in printed(world, code=1)
    # what a run has to look for
    with world.connection() as connection:
        assert missing_models(connection, "mt5") == ["eurusd_m5", "candles"]

    # a table of that name that somebody made of something else
    world.execute("create table public.eurusd_m5 (timestamp text); drop view ops.source_health")
    assert world.query("select ops.newest_row('public.eurusd_m5', now())") == [(None,)]
    world.execute("drop table public.eurusd_m5")
    world.sync("--test")
    assert status(world, code=0)["problems"] == []


@pytest.mark.only_on("embedded")
def test_a_failing_table_leaves_the_views_of_status_where_they_are(world: World) -> None:
    demo_file(world)
    world.sync()
    views = "select oid from pg_class where relname in ('candle_tables', 'sync_health', 'candles') order by relname"
    before = world.query(views)
    world.execute("alter table public.eurusd_h1 drop constraint eurusd_h1_pkey")  # the contract says there is one
    built = world.dbt("run", "--select", "stg_mt5__eurusd", "eurusd_h1+")
    assert built.returncode == 1
    assert "ERROR=1 SKIP=3" in built.stdout, built.stdout
    assert world.query(views) == before
    assert {each["status"] for each in status(world, code=0)["tables"]} == {"current"}


@pytest.mark.only_on("embedded")
def test_lines_are_short_whatever_is_wrong(world: World) -> None:
    series_of = series(MONDAY, 30)
    for symbol in ("EURUSD", "GBPUSD", "AUDUSD"):
        world.collector.load_many(symbol, series_of)
    world.sync()
    world.execute(
        "update ops.sync_symbols set status = 'failed', last_error = repeat('no such thing ', 90)"
        " where symbol in ('eurusd', 'gbpusd', 'usdjpy')"
    )
    state = status(world, code=1)
    assert any(len(problem) > 900 for problem in state["problems"])
    lines = [line for line in printed(world, code=1).splitlines() if line.startswith("! ")]
    assert lines
    assert max(map(len, lines)) <= 300
    assert any(" more " in line for line in lines)


def test_a_role_that_may_not_look_ends_in_one_line(world: World) -> None:
    world.uri += "&options=-c%20role%3Dpg_monitor"
    done = world.run("status")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: cannot read the state of the warehouse: permission denied for ")
    assert len(done.stderr.splitlines()) == 1
