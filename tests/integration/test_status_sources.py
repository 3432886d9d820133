"""`tradehouse status` of every source, and what it keeps of old runs."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest

from collector.simulator import market_is_open
from extract.records import RETENTION_DAYS, TIDY_EVERY
from tests.support.bybit_world import BybitWorld
from tests.support.collector import series
from tests.support.status import MONDAY, demo_file, printed, status
from tests.support.world import World


@pytest.mark.only_on("embedded")
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


@pytest.mark.only_on("embedded")
def test_candles_are_no_problem_where_only_another_source_runs(bybit_world: BybitWorld) -> None:
    bybit_world.backfill()
    done = bybit_world.run("status")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "all sources are current" in done.stdout
    assert "tables" not in done.stdout
    assert json.loads(bybit_world.run("status", "--json").stdout)["problems"] == []


@pytest.mark.only_on("embedded")
def test_a_source_is_looked_at_by_itself(world: World) -> None:
    demo_file(world)
    world.sync()
    on_time, late = "now() + interval '1 minute'", "now() - interval '1 hour'"
    services = ("mt5", "bybit", "accounts", "upstox", "indicators")
    for source in services[1:]:
        assert status(world, "--source", source, code=1)["problems"] == [f"no run yet: tradehouse {source} sync"]
    for source in services:
        world.execute(
            "insert into ops.sync_runs (source, command, status, started_at, finished_at, due_again_at)"
            f" values ('{source}', '{source} run', 'done', now(), now(), {on_time})"
        )
    for source in services:
        world.execute(f"update ops.sync_runs set due_again_at = {late} where source = '{source}'")
        for other in services:
            state = status(world, "--source", other, code=int(other == source))
            assert [each["source"] for each in state["sources"]] == [other]
            assert len(state["tables"]) == (135 if other == "mt5" else 0)
        [problem] = status(world, "--source", source, code=1)["problems"]
        assert problem.startswith(f"{source} dead: the service has stopped")
        world.execute(f"update ops.sync_runs set due_again_at = {on_time} where source = '{source}'")

    lines = printed(world, "--source", "bybit", code=0)
    assert "the source bybit is current" in lines
    assert "tables" not in lines
    # a late candle table is the trouble of the candles alone
    world.execute("delete from public.eurusd_m5")
    assert "EURUSD M5" in status(world, "--source", "mt5", code=1)["problems"][0]
    assert status(world, "--source", "bybit", code=0)["problems"] == []


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


@pytest.mark.only_on("embedded")
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
