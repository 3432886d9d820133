"""The functions of the schema api: what psql shows is what the HTTP API sends."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import psycopg2
import pytest
from psycopg2.extras import execute_values

from extract.settings import load_project
from tests.integration.mt5.test_idempotence import row_versions
from tests.support.accounts_world import AccountsWorld
from tests.support.bybit_world import BybitWorld
from tests.support.collector import SYMBOLS, series
from tests.support.fake_mt5 import info, position, trade
from tests.support.fifo_oracle import Execution
from tests.support.trade_house import TABLES, fill
from tests.support.world import World

MONDAY = 1_736_121_600  # 2025-01-06 00:00 UTC
FREE_SYMBOLS = ["BTCUSD", "EURUSD", "US30", "USDJPY", "XAUUSD"]
RUNS = "select count(*), max(run_id) from ops.sync_runs"


def answer(world: World, call: str) -> Any:
    """What a function returns, numbers as Decimal, asked for from a session in Tokyo."""
    in_tokyo = psycopg2.connect(world.uri, options="-c timezone=Asia/Tokyo")
    with closing(in_tokyo) as connection, connection.cursor() as cursor:
        cursor.execute(f"select ({call})::text")
        [(text,)] = cursor.fetchall()
    return None if text is None else json.loads(text, parse_float=Decimal)


def test_symbols_and_timeframes_of_each_tier(world: World) -> None:
    free = {"success": True, "tier": "FREE", "symbols": FREE_SYMBOLS, "total_count": 5}
    assert answer(world, "api.symbols('FREE')") == free
    assert answer(world, "api.timeframes('FREE')") == {
        "success": True,
        "tier": "FREE",
        "timeframes": ["H1", "H4", "D1"],
        "total_count": 3,
    }
    for tier in ("PRO", "ADMIN"):
        assert answer(world, f"api.symbols('{tier}')")["symbols"] == list(SYMBOLS)
        assert answer(world, f"api.timeframes('{tier}')")["timeframes"] == list(load_project().timeframes)
    for unknown in ("'GOLD'", "'free'", "null"):
        assert answer(world, f"api.symbols({unknown})") is None
        assert answer(world, f"api.timeframes({unknown})") is None
    world.execute("update api.tiers set symbols = '', timeframes = 'D1  M5' where tier = 'FREE'")
    assert answer(world, "api.symbols('FREE')")["symbols"] == []
    assert answer(world, "api.timeframes('FREE')")["timeframes"] == ["M5", "D1"]


@pytest.mark.only_on("embedded")
def test_a_build_without_rows_leaves_the_functions_as_they_are(world: World) -> None:
    definition = "select pg_get_functiondef('api.symbols(text)'::regprocedure)"
    before = world.query(definition)
    done = world.dbt("build", "--empty", "--select", "symbols")
    assert done.returncode == 0, done.stdout
    assert world.query(definition) == before
    assert answer(world, "api.symbols('FREE')")["symbols"] == FREE_SYMBOLS


def test_indicators_health_lists_what_is_behind(world: World) -> None:
    world.collector.load_many("EURUSD", series(MONDAY, 30))
    world.sync()
    health = answer(world, "api.indicators_health()")
    assert (health["success"], health["status"]) == (True, "degraded")
    assert (health["tables_current"], health["tables_total"], len(health["problems"])) == (0, 135, 135)
    [found] = [each for each in health["problems"] if (each["symbol"], each["timeframe"]) == ("EURUSD", "H1")]
    assert found["newest_bar"] == "2025-01-06T02:00:00.000000Z"
    assert found["expected_bar"] > "2026"
    assert found["status"] == "late"
    assert found["reason"].startswith("the newest bar of the source is of 2025-01-06 02:25 UTC")

    # all that is due stands in one view, so a world in which nothing is due is one view away
    world.execute("alter view ops.sync_health rename to judged")
    world.execute("create view ops.sync_health as select * from ops.judged where false")
    assert answer(world, "api.indicators_health()") == {
        "success": True,
        "status": "healthy",
        "tables_current": 0,
        "tables_total": 0,
        "problems": [],
    }


def test_sqlite_health_is_the_files_newest_modification(world: World) -> None:
    assert world.query("select count(*) from ops.sync_runs where source_modified_at is not null") == [(1,)]
    wal = world.sqlite_path.with_name(f"{world.sqlite_path.name}-wal")
    world.collector.load_many("EURUSD", series(MONDAY, 30))
    assert wal.stat().st_size > 0, "the collector writes in WAL mode"
    os.utime(world.sqlite_path, (MONDAY, MONDAY))
    os.utime(wal, (MONDAY + 60, MONDAY + 60.5))
    world.sync()
    assert answer(world, "api.sqlite_health()") == {"success": True, "lastUpdate": (MONDAY + 60) * 1000 + 500}
    os.utime(world.sqlite_path, (MONDAY + 90, MONDAY + 90))
    rows, ((runs, _),) = row_versions(world), world.query(RUNS)
    symbols = world.query("select xmin::text from ops.sync_symbols order by symbol")
    world.sync()
    assert answer(world, "api.sqlite_health()")["lastUpdate"] == (MONDAY + 90) * 1000
    # it stands in the run's own record, which every run writes: nothing else is written
    assert row_versions(world) == rows
    assert world.query("select xmin::text from ops.sync_symbols order by symbol") == symbols
    assert world.query(RUNS)[0][0] == runs + 1

    world.settings["SQLITE_PATH"] = str(world.directory / "away.db")
    world.sync(code=2)
    assert answer(world, "api.sqlite_health()")["lastUpdate"] == (MONDAY + 90) * 1000
    world.execute("update ops.sync_runs set source_modified_at = null")
    assert answer(world, "api.sqlite_health()") is None


def test_sync_status_has_the_last_runs_of_each_source(world: World) -> None:
    world.collector.load_many("EURUSD", series(MONDAY, 30))
    world.sync()
    world.execute(
        "insert into ops.sync_runs (source, command, status, started_at, finished_at, error) select 'bybit',"
        " 'bybit run', 'failed', '2025-01-06 01:00Z', '2025-01-06 01:00:01.5Z', 'away' from generate_series(1, 12)"
    )
    found = answer(world, "api.sync_status()")
    bybit, mt5 = found["sources"]
    assert (bybit["source"], bybit["verdict"], bybit["reason"]) == ("bybit", "failed", "the last run failed: away")
    assert (mt5["source"], mt5["verdict"], mt5["reason"]) == ("mt5", "current", None)
    assert [each["run_id"] for each in bybit["runs"]] == [
        run
        for (run,) in world.query("select run_id from ops.sync_runs where source = 'bybit' order by 1 desc limit 10")
    ]
    assert bybit["runs"][0]["finished_at"] == bybit["last_ended_at"] == "2025-01-06T01:00:01.500000Z"
    assert bybit["last_success_at"] is None
    assert (mt5["runs"][0]["rows_changed"], mt5["runs"][0]["error"]) == (30, None)


def test_table_stats_come_from_the_catalog(world: World) -> None:
    world.collector.load_many("EURUSD", series(MONDAY, 600))
    world.sync()
    world.execute("analyze eurusd_m5")
    stats = answer(world, "api.table_stats()")
    assert (stats["total_count"], len(stats["tables"])) == (135, 135)
    by_name = {each["table"]: each for each in stats["tables"]}
    assert set(by_name) == set(load_project().candle_tables)
    [(size,)] = world.query("select pg_total_relation_size('eurusd_m5')")
    assert by_name["eurusd_m5"] == {
        "symbol": "EURUSD",
        "timeframe": "M5",
        "table": "eurusd_m5",
        "rows": 600,
        "newest_bar": "2025-01-08T01:55:00.000000Z",
        "bytes": size,
    }
    assert by_name["xauusd_d1"]["newest_bar"] is None
    assert stats["total_bytes"] == sum(each["bytes"] for each in stats["tables"])
    [(rows,)] = world.query("select reltuples from pg_class where oid = 'gbpusd_h8'::regclass")
    assert by_name["gbpusd_h8"]["rows"] == (None if rows < 0 else rows)
    order = [(each["symbol"], each["timeframe"]) for each in stats["tables"]]
    assert order == [(symbol, timeframe) for symbol in SYMBOLS for timeframe in load_project().timeframes]


@pytest.fixture
def trades(bybit_world: BybitWorld) -> BybitWorld:
    """Five trades in three markets, and a lot that is open."""
    fills = [
        fill(1, "Buy", 1, 10, execFee="0.1"),
        fill(2, "Sell", 1, 12),
        fill(3, "Buy", 2, 10),
        fill(4, "Sell", 1, 9, symbol="BTCUSDT"),
        fill(5, "Buy", 1, 100, symbol="ETHUSDT", minute=3),
        fill(6, "Sell", 1, "100.25", symbol="ETHUSDT", minute=4),
        fill(7, "Buy", 1, 10, symbol="BTCUSD", category="inverse"),
        fill(8, "Sell", 1, 20, symbol="BTCUSD", category="inverse"),
        fill(9, "Buy", 1, 10, symbol="SOLUSDT", category="spot", feeCurrency="SOL"),
        fill(10, "Sell", 1, 10, symbol="SOLUSDT", category="spot", minute=24 * 60),
    ]
    land(bybit_world, fills)
    return bybit_world


def land(world: BybitWorld, fills: Sequence[Execution]) -> None:
    """Put fills into staging and refresh the trades."""
    with world.connection() as connection, connection.cursor() as cursor:
        execute_values(
            cursor,
            "insert into staging.bybit_executions"
            " (exec_id, category, exec_time, payload, extracted_at, account_uid) values %s",
            [
                (each.exec_id, each.category, each.exec_time, json.dumps(each.payload), each.exec_time, each.account)
                for each in fills
            ],
        )
        cursor.execute("select error from ops.refresh(%s)", (list(TABLES),))
        assert cursor.fetchall() == [(None,), (None,)]
        connection.commit()


def test_trades_without_any(bybit_world: BybitWorld) -> None:
    for name, call in {
        "summary": "trades_summary()",
        "trades": "trades_completed(10, 0)",
        "curves": "trades_equity_curve()",
        "markets": "trades_pnl_by_time()",
        "exit_reasons": "trades_exit_reasons()",
        "open_lots": "trades_open_lots()",
    }.items():
        found = answer(bybit_world, f"api.{call}")
        assert (found["success"], found["total_count"], found[name]) == (True, 0, [])


def test_completed_trades_come_in_pages(trades: BybitWorld) -> None:
    whole = answer(trades, "api.trades_completed(100, 0)")
    assert (whole["total_count"], whole["limit"], whole["offset"], len(whole["trades"])) == (5, 100, 0, 5)
    exits = [each["exit_time"] for each in whole["trades"]]
    assert exits == sorted(exits, reverse=True)
    assert exits[0] == "2025-01-07T00:00:00.000000Z"
    # two exits in one minute: pages neither repeat nor leave out any
    pages = [answer(trades, f"api.trades_completed(2, {offset})")["trades"] for offset in (0, 2, 4, 6)]
    assert [len(page) for page in pages] == [2, 2, 1, 0]
    assert [each for page in pages for each in page] == whole["trades"]
    [first] = [each for each in whole["trades"] if each["exit_order_id"] == "order-2"]
    assert first["net_pnl"] == Decimal("1.9")
    assert (first["entry_time"], first["holding_duration_seconds"]) == ("2025-01-06T00:01:00.000000Z", 60)
    columns = trades.query("select attname from pg_attribute where attrelid = 'trading.completed_trades'::regclass"
                           " and attnum > 0 and not attisdropped")  # fmt: skip
    assert set(first) == {name for (name,) in columns}


def test_the_equity_curve_adds_up_what_is_in_one_currency(trades: BybitWorld) -> None:
    found = answer(trades, "api.trades_equity_curve()")
    curves = {each["market"]: each["points"] for each in found["curves"]}
    assert found["total_count"] == len(curves) == 3
    # by hand: 12 - 10 - 0.1; then 9 - 10 and 100.25 - 100 at the same time
    assert curves["linear"] == [
        {"time": "2025-01-06T00:02:00.000000Z", "net_pnl": Decimal("1.9"), "cumulative_pnl": Decimal("1.9")},
        {"time": "2025-01-06T00:04:00.000000Z", "net_pnl": Decimal("-0.75"), "cumulative_pnl": Decimal("1.15")},
    ]
    [inverse] = curves["inverse BTCUSD"]
    assert inverse["net_pnl"] == inverse["cumulative_pnl"] == Decimal("0.05")
    assert [each["net_pnl"] for each in curves["spot USDT"]] == [0]


def test_profit_by_day_and_by_hour(trades: BybitWorld) -> None:
    found = answer(trades, "api.trades_pnl_by_time()")
    assert [each["market"] for each in found["markets"]] == ["inverse BTCUSD", "linear", "spot USDT"]
    assert found["total_count"] == 3
    # by hand: 12 - 10 - 0.1, 9 - 10, and 100.25 - 100; a trade without profit is none that won
    totals = {"total_trades": 3, "winning_trades": 2, "total_pnl": Decimal("1.15"), "total_fees": Decimal("0.1")}
    assert found["markets"][1]["days"] == [{"exit_date": "2025-01-06", **totals}]
    assert found["markets"][1]["hours"] == [{"exit_hour": 0, **totals}]
    [spot] = found["markets"][2]["days"]
    assert (spot["exit_date"], spot["total_trades"], spot["winning_trades"]) == ("2025-01-07", 1, 0)


def test_profit_by_day_and_by_hour_of_many_trades(bybit_world: BybitWorld) -> None:
    rng = random.Random(8)
    legs = []
    for number in range(0, 400, 2):
        minute = rng.randrange(4 * 1440)
        price = rng.randrange(90, 110)
        traded = rng.choice(({"symbol": "BTCUSDT"}, {"symbol": "ETHUSDT"}, {"symbol": "SOLUSDT", "category": "spot"}))
        legs += [
            fill(number, "Buy", 1, price, minute=minute, execFee="0.01", **traded),
            fill(number + 1, "Sell", 1, price + rng.randrange(-3, 4), minute=minute + rng.randrange(600), **traded),
        ]
    land(bybit_world, legs)
    rows = bybit_world.query(
        "select category, symbol, extract(epoch from exit_time)::bigint, net_pnl, total_commission"
        " from trading.completed_trades"
    )
    assert len(rows) > 150
    days: dict[tuple[str, str], list[Decimal]] = {}
    hours: dict[tuple[str, int], list[Decimal]] = {}
    fees = Decimal(0)
    for _, symbol, second, pnl, fee in rows:
        market = "linear" if symbol in ("BTCUSDT", "ETHUSDT") else "spot USDT"
        exited = datetime.fromtimestamp(second, timezone.utc)
        days.setdefault((market, exited.date().isoformat()), []).append(pnl)
        hours.setdefault((market, exited.hour), []).append(pnl)
        fees += fee
    markets = answer(bybit_world, "api.trades_pnl_by_time()")["markets"]
    for kind, key, expected in (("days", "exit_date", days), ("hours", "exit_hour", hours)):
        shown = {(market["market"], each[key]): each for market in markets for each in market[kind]}
        assert {place: each["total_trades"] for place, each in shown.items()} == {
            place: len(profits) for place, profits in expected.items()
        }
        assert {place: each["total_pnl"] for place, each in shown.items()} == {
            place: sum(profits) for place, profits in expected.items()
        }
        assert {place: each["winning_trades"] for place, each in shown.items()} == {
            place: sum(profit > 0 for profit in profits) for place, profits in expected.items()
        }
        assert sum(each["total_fees"] for each in shown.values()) == fees
        order = [[each[key] for each in market[kind]] for market in markets]
        assert order == [sorted(each) for each in order]
    assert len(days) >= 8
    assert len(hours) > 24


def test_summary_exit_reasons_and_open_lots_are_the_marts(trades: BybitWorld) -> None:
    summary = answer(trades, "api.trades_summary()")
    assert summary["total_count"] == 4
    assert [each["exit_date"] for each in summary["summary"]] == ["2025-01-07", *["2025-01-06"] * 3]
    [bitcoin] = [each for each in summary["summary"] if each["symbol"] == "BTCUSDT"]
    assert (bitcoin["total_trades"], bitcoin["total_pnl"]) == (2, Decimal("0.9"))
    reasons = answer(trades, "api.trades_exit_reasons()")
    assert sum(each["total_trades"] for each in reasons["exit_reasons"]) == 5
    lots = answer(trades, "api.trades_open_lots()")
    [lot] = lots["open_lots"]
    assert (lot["symbol"], lot["open_qty"], lot["entry_time"]) == ("BTCUSDT", 1, "2025-01-06T00:03:00.000000Z")


def test_accounts_have_their_open_positions_and_failures(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    assert answer(world, "api.accounts()") == {"success": True, "total_count": 0, "accounts": [], "failures": []}
    world.register("a", "b")
    closed = int(time.time()) - 1800
    world.fake.account("a", info(1000.5), [position(1), position(2)], [trade(9, closed)])
    world.fake.account("b", info(5), [], [])
    world.fake.treat("b", "info", status=500)
    world.poll(code=1)
    found = answer(world, "api.accounts()")
    first, second = found["accounts"]
    assert (found["total_count"], first["account_id"], second["account_id"]) == (2, "a", "b")
    assert (first["balance"], first["success_rate_pct"]) == (Decimal("1000.5"), 100)
    assert {each["ticket"] for each in first["positions"]} == {"1", "2"}
    assert first["positions"][0]["open_time"].endswith(".000000Z")
    assert (second["balance"], second["positions"], second["success_rate_pct"]) == (None, [], 0)
    [failure] = found["failures"]
    assert (failure["account_id"], failure["partial_syncs"]) == ("b", 1)
    [(ended,)] = world.query("select last_failure_at at time zone 'UTC' from accounts.recent_failures")
    assert failure["last_failure_at"] == ended.isoformat(timespec="microseconds") + "Z"
