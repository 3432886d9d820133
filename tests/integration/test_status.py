"""`tradehouse status`: whether everything is current, and if not, what is late; what run records are kept for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from collector.simulator import market_is_open
from extract.records import RETENTION_DAYS, TIDY_EVERY
from extract.refresh import missing_models
from extract.settings import load_project
from tests.conftest import Server
from tests.support.bybit_world import BybitWorld
from tests.support.collector import Collector, series
from tests.support.world import World

MONDAY = 1_736_121_600  # 2025-01-06 00:00 UTC
TIMEFRAMES = load_project().timeframes
HEALTHY = ("audusd", "eurusd", "gbpjpy", "ndx100", "nzdusd", "us30", "usdcad", "usdchf", "usdjpy", "xagusd", "xauusd")


def status(world: World, *arguments: str, code: int) -> dict[str, Any]:
    """The command's JSON; its exit code is demanded."""
    done = world.run("status", "--json", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    state: dict[str, Any] = json.loads(done.stdout)
    assert state["ok"] is (code == 0)
    return state


def printed(world: World, *arguments: str, code: int) -> str:
    """What the command prints for people; nothing of its tables is wider than 80 columns or cut off."""
    done = world.run("status", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr == ""
    tables = done.stdout.split("warehouse: ")[0]
    assert all(len(line.rstrip()) <= 80 and "…" not in line for line in tables.splitlines()), tables
    return done.stdout


def table(state: dict[str, Any], symbol: str, timeframe: str) -> dict[str, Any]:
    [found] = [each for each in state["tables"] if (each["symbol"], each["timeframe"]) == (symbol, timeframe)]
    return dict(found)


def verdicts(state: dict[str, Any], symbols: Iterable[str]) -> set[str]:
    return {each["status"] for each in state["tables"] if each["symbol"] in symbols}


def demo_file(world: World) -> Path:
    """A sample file that ends now, as `make demo` writes it, in place of the world's own."""
    path = world.directory / "demo.db"
    done = world.run("demo-data", str(path), "--days", "6")
    assert done.returncode == 0, done.stderr
    world.settings["SQLITE_PATH"] = str(path)
    return path


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
    assert "! BTCUSD M5" in text
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


def test_every_source_that_has_run_is_judged(world: World) -> None:
    demo_file(world)
    world.sync()
    assert [source["source"] for source in status(world, code=0)["sources"]] == ["mt5"]
    others = world.dbt(
        "build", "--select", "tag:bybit", "tag:accounts", "--resource-types", "model", "seed", "function"
    )
    assert others.returncode == 0, others.stdout
    parts = "; ".join(f"account {n}: the password was refused" for n in range(60))
    world.execute(
        "insert into ops.sync_runs (source, command, status, started_at, finished_at, due_again_at, error) values"
        " ('bybit', 'bybit run', 'done', now() - interval '2 hours', now() - interval '2 hours',"
        "  now() - interval '1 hour', null),"
        f" ('accounts', 'accounts run', 'partial', now(), now(), now() + interval '1 hour', '{parts}')"
    )
    state = status(world, code=1)
    assert {source["source"]: source["verdict"] for source in state["sources"]} == {
        **{"accounts": "partial", "bybit": "dead", "mt5": "current"}
    }
    assert len(state["problems"]) == 2
    assert state["problems"][0] == f"accounts partial: the last run was partial: {parts}"
    assert state["problems"][1].startswith("bybit dead: the service has stopped: its next run was due at ")
    text = printed(world, code=1)
    lines = [line for line in text.splitlines() if line.startswith("! ")]
    assert len(lines) == 2
    assert all(len(line) <= 250 for line in lines)
    assert lines[0].startswith("! accounts partial: the last run was partial: account 0: the password was refused")

    # a grace of two hours lets the hour pass
    patient = status(world, "--grace", "120", code=1)["sources"]
    assert [source["verdict"] for source in patient] == ["partial", "current", "current"]
    world.execute("delete from ops.sync_runs where source = 'accounts'")
    world.execute(
        "update ops.sync_runs set status = 'failed', error = 'no key', due_again_at = null where source = 'bybit'"
    )
    assert status(world, code=1)["problems"] == ["bybit failed: the last run failed: no key"]

    # the newest run is at work in a session that holds a lock, or its session is gone
    with world.connection() as connection, connection.cursor() as cursor:
        cursor.execute("select pg_advisory_lock(1)")
        cursor.execute(
            "insert into ops.sync_runs (source, command, status, started_at)"
            " values ('bybit', 'bybit run', 'running', now() - interval '1 hour')"
        )
        cursor.execute(
            "update ops.sync_runs set status = 'done', due_again_at = now() - interval '1 hour', error = null"
            " where source = 'bybit' and status = 'failed'"
        )
        connection.commit()
        assert status(world, code=0)["problems"] == []
    assert "and broke off" in status(world, code=1)["problems"][0]


def test_candles_are_no_problem_where_only_another_source_runs(bybit_world: BybitWorld) -> None:
    bybit_world.backfill()
    done = bybit_world.run("status")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "all sources are current" in done.stdout
    assert "tables" not in done.stdout
    assert json.loads(bybit_world.run("status", "--json").stdout)["problems"] == []


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


def due(symbol: str, moment: datetime) -> bool:
    """The market calendar, spelled out day by day."""
    if symbol == "btcusd":
        return True
    if symbol == "xauusd" and moment.hour in (21, 22):
        return False
    return {4: moment.hour < 21, 5: False, 6: moment.hour >= 23}.get(moment.weekday(), True)


def newest_due(symbol: str, minutes: int, at: int) -> int:
    instant = at // (minutes * 60) * minutes * 60
    while not due(symbol, datetime.fromtimestamp(instant, timezone.utc)):
        instant -= minutes * 60
    return instant


def test_the_bar_that_is_due_at_every_hour_of_the_week(world: World) -> None:
    """The SQL rule against the calendar spelled out; and whatever is due, the sample data has."""
    compiled = world.dbt(
        *("--quiet", "compile", "--inline"),
        "select symbol, minutes, at,"
        " extract(epoch from {{ newest_due_bar(symbol='symbol', minutes='minutes', at='to_timestamp(at)') }})::bigint"
        " from unnest(array['btcusd', 'eurusd', 'xauusd']) as symbol,"
        " unnest(array[5, 30, 60, 120, 480, 1440]) as minutes,"
        f" generate_series({MONDAY}, {MONDAY + 7 * 86_400}, 35 * 60 - 1) as at",
    )
    assert compiled.returncode == 0, compiled.stdout
    found = world.query(compiled.stdout)
    assert len(found) == 3 * 6 * 289
    assert [row for row in found if row[3] != newest_due(*row[:3])] == []
    assert all(symbol == "btcusd" or market_is_open(expected) for symbol, _, _, expected in found)


def test_old_run_records_are_deleted_but_for_those_that_are_read_again(world: World) -> None:
    world.collector.load_many("EURUSD", series(MONDAY, 3))
    world.sync()  # the newest batch; the last build of everything is the record before
    old = f"now() - interval '{RETENTION_DAYS + 1} days'"
    world.execute(f"update ops.sync_runs set started_at = {old}")
    world.execute(
        "insert into ops.sync_runs (source, command, status, started_at, finished_at)"
        f" values ('other', 'kept', 'done', {old}, now())"
    )
    world.execute(
        "insert into ops.sync_runs (run_id, source, command, status, started_at, finished_at, extracted_at,"
        " project_fingerprint) overriding system value values"
        f" (-2, 'mt5', 'old', 'done', {old}, now(), '2020-01-01', 'replaced'),"
        f" (-1, 'mt5', 'old', 'failed', {old}, now(), null, null),"
        " (0, 'mt5', 'young', 'done', now() - interval '29 days', now(), null, null)"
    )
    world.execute(
        "insert into ops.rejected_rows (source, entity, row_key, column_name, reason, extracted_at, resolved_at) values"
        f" ('mt5', 'eurusd', '1', 'tema', 'old', {old}, {old}), ('mt5', 'eurusd', '2', 'tema', 'young', {old}, now()),"
        f" ('mt5', 'eurusd', '3', 'tema', 'open', {old}, null)"
    )
    world.execute(f"alter table ops.sync_runs alter run_id restart with {TIDY_EVERY - 1}")
    commands = "select command, count(*) from ops.sync_runs group by command order by command"
    world.sync()  # number 99 deletes nothing
    assert world.query(commands) == [("kept", 1), ("old", 2), ("sync", 3), ("young", 1)]
    assert "0 models built" in world.sync()
    assert world.query(commands) == [("kept", 1), ("sync", 4), ("young", 1)]
    assert world.query("select reason from ops.rejected_rows order by reason") == [("open",), ("young",)]
    # what was kept is what the next run needs: nothing is built anew, and the stamp goes up
    before = world.query("select max(extracted_at) from ops.sync_runs")
    assert "0 models built" in world.sync()
    world.collector.load_many("EURUSD", series(MONDAY + 900, 1))
    world.sync_and_check()
    assert world.query("select max(extracted_at) from ops.sync_runs") > before


def test_what_stands_behind_it_can_be_queried(world: World) -> None:
    for relation in ("ops.sync_runs", "ops.market_hours", "ops.candle_tables", "ops.sync_health", "ops.source_health"):
        done = world.run("query", f"select count(*) as n from wh.{relation}", "--format", "json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)[0]["n"] == world.query(f"select count(*) from {relation}")[0][0] > 0
