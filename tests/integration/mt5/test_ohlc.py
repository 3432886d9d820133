"""`public.ohlc` holds the candles of all bars of each period, however they came."""

from __future__ import annotations

import json
import random
import select
import time

import pytest

from extract.settings import load_project
from tests.support.collector import bar, series
from tests.support.ohlc_oracle import TIMEFRAMES, Ohlc, expected_ohlc, stored_ohlc
from tests.support.world import World

MONDAY = 1_736_121_600  # 2025-01-06 00:00 UTC
DAY = 86_400


def check_ohlc(world: World) -> None:
    with world.connection() as connection:
        assert stored_ohlc(connection) == expected_ohlc(world.sqlite_path)


def candle(world: World, timeframe: str, timestamp: int) -> list[tuple[object, ...]]:
    return world.query(
        "select open, high, low, close, bars, complete from ohlc"
        " where symbol = 'eurusd' and timeframe = %s and timestamp = to_timestamp(%s)",
        timeframe,
        timestamp,
    )


def priced(timestamp: int, *prices: float) -> dict[str, object]:
    return bar(timestamp, **dict(zip(("open", "high", "low", "close"), prices, strict=True)))


def test_the_oracle_knows_the_timeframes() -> None:
    assert load_project().timeframes == TIMEFRAMES


def test_the_candle_of_a_forming_day_grows_through_it(world: World) -> None:
    world.collector.write("EURUSD", [priced(MONDAY, 1.0, 1.5, 0.9, 1.2)])
    world.sync()
    assert candle(world, "D1", MONDAY) == [(1.0, 1.5, 0.9, 1.2, 1, False)]
    world.collector.write("EURUSD", [priced(MONDAY, 1.0, 1.6, 0.9, 1.3), priced(MONDAY + 300, 1.3, 1.4, 0.8, 0.9)])
    world.sync()
    assert candle(world, "D1", MONDAY) == [(1.0, 1.6, 0.8, 0.9, 2, False)]
    assert candle(world, "M5", MONDAY) == [(1.0, 1.6, 0.9, 1.3, 1, True)]
    world.collector.write("EURUSD", [priced(MONDAY + DAY, 2.0, 2.0, 2.0, 2.0)])
    world.sync()
    assert candle(world, "D1", MONDAY) == [(1.0, 1.6, 0.8, 0.9, 2, True)]
    assert candle(world, "D1", MONDAY + DAY) == [(2.0, 2.0, 2.0, 2.0, 1, False)]
    check_ohlc(world)


def test_any_history_equals_pandas_and_a_rebuild(world: World) -> None:
    chance = random.Random(10)
    world.collector.load_many("EURUSD", series(MONDAY, 200))
    world.collector.load_many("BTCUSD", series(MONDAY - DAY, 50, step=1500))
    world.sync()
    check_ohlc(world)
    newest = MONDAY + 199 * 300
    for _ in range(12):
        newest += chance.choice([0, 300, 300, 3600, DAY])
        rows = [bar(newest, close=chance.uniform(1, 2), high=3.0)]
        late = MONDAY + chance.randrange(0, (newest - MONDAY) // 300) * 300
        if chance.random() < 0.4:
            rows.append(bar(late, low=chance.uniform(0.1, 0.9)))
        if chance.random() < 0.3:
            rows.append(bar(late + chance.randrange(60), open=chance.uniform(1, 2), high=3.0))
        if chance.random() < 0.3:
            rows.append(bar(late, open="no number"))
        world.collector.write(chance.choice(["EURUSD", "BTCUSD"]), rows)
        world.settings["LOOKBACK_MINUTES"] = "20000"
        world.sync()
        check_ohlc(world)
    row_versions = "select symbol, timeframe, timestamp, xmin::text, synced_at from ohlc order by 1, 2, 3"
    versions = world.query(row_versions)
    assert world.dbt("run", "--full-refresh", "--select", "ohlc").returncode == 0
    assert (
        world.query("select symbol, timeframe, timestamp, xmin::text, synced_at from ohlc order by 1, 2, 3") == versions
    )
    world.execute("drop table ohlc")
    world.sync()
    check_ohlc(world)


def test_a_candle_leaves_with_its_last_bar(world: World) -> None:
    world.collector.write("EURUSD", series(MONDAY, 2))
    world.sync()
    world.collector.write("EURUSD", [bar(MONDAY + 300, close="no number")])
    world.sync()
    assert candle(world, "M5", MONDAY + 300) == []
    check_ohlc(world)
    tomorrow = int(time.time()) // DAY * DAY + 2 * DAY
    world.collector.write("EURUSD", [bar(tomorrow)])
    world.sync()
    assert len(candle(world, "D1", tomorrow)) == 1
    world.collector.execute("delete from EURUSD where timestamp = ?", [tomorrow])
    world.sync()
    check_ohlc(world)


def test_candles_of_pruned_bars_stay_as_they_are(world: World) -> None:
    world.settings |= {"STAGING_ROWS_PER_SYMBOL": "1000", "LOOKBACK_MINUTES": "20000"}
    world.collector.load_many("EURUSD", series(MONDAY, 1500))
    world.sync()
    assert world.query("select count(*) from staging.eurusd") == [(1000,)]
    check_ohlc(world)
    ((pruned,),) = world.query("select max(timestamp) from ops.pruned_bars where symbol = 'eurusd'")
    before = expected_ohlc(world.sqlite_path)
    world.collector.write(
        "EURUSD", [bar(pruned - 600, high=9.0), bar(pruned + 600, high=8.0), *series(MONDAY + 1500 * 300, 10)]
    )
    for command in ("increment", "full refresh"):
        if command == "increment":
            world.sync()
        else:
            assert world.dbt("run", "--full-refresh", "--select", "ohlc").returncode == 0
        with world.connection() as connection:
            stored = stored_ohlc(connection)
        wanted = expected_ohlc(world.sqlite_path)
        assert stored.keys() == wanted.keys()
        for key, value in stored.items():
            # periods that begin before the newest pruned bar stay; only their end may have come since
            kept = before.get(key) if key[2] <= pruned else wanted[key]
            assert value[:5] == (kept or Ohlc(*wanted[key]))[:5], (command, key)


@pytest.mark.only_on("embedded")
def test_one_notify_a_run_says_what_changed(world: World) -> None:
    world.collector.write("EURUSD", series(MONDAY, 12))
    with world.connection() as listener, listener.cursor() as cursor:
        listener.autocommit = True
        cursor.execute("listen tradehouse_changes")
        world.sync()
        world.sync()  # nothing new, nothing announced
        world.collector.write("EURUSD", [bar(MONDAY + 12 * 300)])
        world.sync()
        assert select.select([listener], [], [], 10)[0]
        listener.poll()
        first, second = (json.loads(notify.payload) for notify in listener.notifies)
    assert {"eurusd_m5", "eurusd_d1", "ohlc"} <= set(first["models"])
    assert second["models"] == ["eurusd_h1", "eurusd_m15", "eurusd_m30", "eurusd_m5", "ohlc"]
    ((run_id, extracted_at),) = world.query(
        "select run_id, to_json(extracted_at)#>>'{}' from ops.sync_runs order by run_id desc limit 1"
    )
    assert (second["run_id"], second["source"]) == (run_id, "mt5")
    assert second["extracted_at"][:19] == extracted_at[:19]
