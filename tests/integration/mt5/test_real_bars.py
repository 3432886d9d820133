"""Real markets: 14 symbols, two of them with more bars than a table keeps, as the collector would have written them."""

from __future__ import annotations

import csv
import gzip
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.support.collector import bar
from tests.support.ohlc_oracle import TIMEFRAMES, expected_ohlc, stored_ohlc
from tests.support.world import World

REAL_BARS = Path(__file__).parents[4] / "shared" / "data" / "real_bars.csv.gz"
IN_FULL = ("BTCUSD", "EURUSD")
"""Twice as many bars as a table keeps. Of the other symbols the newest stand for all, for the oracle takes its time."""
NEWEST = 2_000


@pytest.mark.skipif(not REAL_BARS.exists(), reason="the file of real bars is not on this machine")
def test_real_markets_equal_the_oracle_and_are_pruned(world: World) -> None:
    world.collector.drop("AUDJPY")
    with gzip.open(REAL_BARS, "rt", newline="") as file:
        for symbol, lines in groupby(csv.DictReader(file), key=lambda line: line["symbol"]):
            bars = list(lines)
            world.collector.load_many(
                symbol,
                (
                    bar(
                        int(line["timestamp"]),
                        **{price: float(line[price]) for price in ("open", "high", "low", "close")},
                    )
                    for line in (bars if symbol in IN_FULL else bars[-NEWEST:])
                ),
            )
    printed = world.sync_and_check(code=1)
    assert "64,000 rows read, 64,000 changed" in printed
    assert "AUDJPY: the file has no table for this symbol" in printed
    assert world.query("select count(*) from eurusd_h4 union all select count(*) from btcusd_m30") == [
        (10_000,),
        (10_000,),
    ]
    assert "0 changed" in world.sync(code=1)
    with world.connection() as connection:
        stored = stored_ohlc(connection)
    assert stored == expected_ohlc(world.sqlite_path)
    assert {key: value[:5] for key, value in stored.items()} == bucketed_by_duckdb()


def bucketed_by_duckdb() -> dict[tuple[str, str, int], tuple[float, float, float, float, int]]:
    """The candles of the same real bars by DuckDB's `time_bucket`."""
    candles: dict[tuple[str, str, int], tuple[float, float, float, float, int]] = {}
    with duckdb.connect() as session:
        session.execute(
            "create table bars as select lower(symbol) as symbol, to_timestamp(timestamp)::timestamp as time,"
            " open, high, low, close from read_csv(?) as bar qualify list_contains(?, bar.symbol)"
            " or row_number() over (partition by bar.symbol order by timestamp desc) <= ?",
            [str(REAL_BARS), list(IN_FULL), NEWEST],
        )
        for timeframe, minutes in TIMEFRAMES.items():
            rows: list[tuple[Any, ...]] = session.execute(
                f"select symbol, epoch(time_bucket(interval '{minutes} minutes', time))::bigint as start,"
                " first(open order by time), max(high), min(low), last(close order by time), count(*)"
                " from bars group by all"
            ).fetchall()
            candles |= {(row[0], timeframe, row[1]): (row[2], row[3], row[4], row[5], row[6]) for row in rows}
    return candles
