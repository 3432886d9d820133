"""The oracle proven by examples worked out by hand: each rule, with the expected value written down."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from tests.support.collector import SYMBOLS, Collector, bar, series
from tests.support.oracle import COLUMNS, Candle, Tables, expected_tables, symbol_table

MIDNIGHT = 1_704_153_600  # 2024-01-02 00:00 UTC
HOUR = 3600
DBL_MAX = 1.7976931348623157e308
UNTYPED = f"CREATE TABLE EURUSD (timestamp, {', '.join(COLUMNS)})"  # stores any value unconverted

Load = Callable[..., Tables]


def at(hour: int, minute: int = 0, *, day: int = 2) -> datetime:
    return datetime(2024, 1, day, hour, minute, tzinfo=timezone.utc)


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write the rows into EURUSD, whose declaration is `ddl`, and return what the oracle expects."""

    def load(rows: Iterable[dict[str, object]], *, ddl: str | None = None, cap: int = 10_000) -> Tables:
        with Collector(tmp_path / "trading_data.db") as collector:
            if ddl is None:
                collector.create(["EURUSD"])
            else:
                collector.execute(ddl)
            collector.write("EURUSD", rows)
            return expected_tables(collector.path, cap=cap)

    return load


def only(tables: Tables) -> Candle:
    (candle,) = tables["eurusd", "M5"].values()
    return candle


# --- rows and timeframes ---------------------------------------------------------------------


def test_every_column_of_a_row_lands_as_the_source_says(load: Load) -> None:
    tables = load(
        [
            {
                "timestamp": MIDNIGHT,
                "open": 1.1234567890123457,
                "high": 1.0,  # below the open: lands as it is
                "low": 3,
                "close": -2.5,
                "fractals": '{"peaks":[{"index":4,"price":1.10,"time":1704153600}],"bottoms":[]}',
                "horizontal_trendlines": '{"peak_1":[1]}',
                "diagonal_trendlines": '{"ascending_1":[2]}',
                "momentum_candles": '[{"index":1,"type":"bullish","zscore":-2.5e0}]',
                "keltner_channels": '{"ultra_extreme_upper":1.2}',
                "tema": 0.1,
                "hrma": 0.2,
                "smma": 0.3,
                "zigzag": '{"peaks":[true,null]}',
            }
        ]
    )
    assert only(tables) == Candle(
        open=1.1234567890123457,
        high=1.0,
        low=3.0,
        close=-2.5,
        fractals={
            "peaks": [{"index": Decimal(4), "price": Decimal("1.1"), "time": Decimal(1704153600)}],
            "bottoms": [],
        },
        horizontal_trendlines={"peak_1": [Decimal(1)]},
        diagonal_trendlines={"ascending_1": [Decimal(2)]},
        momentum_candles=[{"index": Decimal(1), "type": "bullish", "zscore": Decimal("-2.5")}],
        keltner_channels={"ultra_extreme_upper": Decimal("1.2")},
        tema=0.1,
        hrma=0.2,
        smma=0.3,
        zigzag={"peaks": [True, None]},
    )


def test_a_day_of_five_minute_bars_is_sampled_on_each_grid(load: Load) -> None:
    tables = load(series(MIDNIGHT, 289))  # the last bar opens the next day
    rows = {timeframe: tables["eurusd", timeframe] for timeframe in ("M15", "H1", "H8", "H12", "D1")}
    sizes = {timeframe: len(rows) for (symbol, timeframe), rows in tables.items() if symbol == "eurusd"}
    assert sizes == {
        **{"M5": 289, "M15": 97, "M30": 49, "H1": 25, "H2": 13, "H4": 7},
        **{"H8": 4, "H12": 3, "D1": 2},
    }
    assert sorted(rows["H8"]) == [at(0), at(8), at(16), at(0, day=3)]
    assert sorted(rows["H12"]) == [at(0), at(12), at(0, day=3)]
    assert sorted(rows["D1"]) == [at(0), at(0, day=3)]
    assert sorted(rows["M15"])[:3] == [at(0), at(0, 15), at(0, 30)]
    # Sampled, not aggregated: 03:00 in H1 is the source row of 03:00.
    assert rows["H1"][at(3)].high == bar(MIDNIGHT + 3 * HOUR)["high"]


@pytest.mark.parametrize(
    ("minute", "timeframes"),
    [
        (0 * 60 + 1, []),
        (0 * 60 + 5, ["M5"]),
        (0 * 60 + 45, ["M5", "M15"]),
        (3 * 60 + 30, ["M5", "M15", "M30"]),
        (3 * 60, ["M5", "M15", "M30", "H1"]),
        (6 * 60, ["M5", "M15", "M30", "H1", "H2"]),
        (4 * 60, ["M5", "M15", "M30", "H1", "H2", "H4"]),
        (8 * 60, ["M5", "M15", "M30", "H1", "H2", "H4", "H8"]),
        (12 * 60, ["M5", "M15", "M30", "H1", "H2", "H4", "H12"]),
    ],
)
def test_the_timeframes_of_a_minute_of_the_day(load: Load, minute: int, timeframes: list[str]) -> None:
    tables = load([bar(MIDNIGHT + minute * 60)])
    assert [timeframe for (_, timeframe), rows in tables.items() if rows] == timeframes


def test_the_last_row_of_a_minute_counts_and_seconds_are_cut_off(load: Load) -> None:
    tables = load([bar(MIDNIGHT + 59, close=59.0), bar(MIDNIGHT + 20, close=20.0), bar(MIDNIGHT + 60, close=60.0)])
    assert {stamp: candle.close for stamp, candle in tables["eurusd", "D1"].items()} == {at(0): 59.0}
    assert list(tables["eurusd", "M5"]) == [at(0)]


def test_a_reject_does_not_hide_an_earlier_row_of_its_minute(load: Load) -> None:
    tables = load([bar(MIDNIGHT, close=1.5), bar(MIDNIGHT + 30, close=math.inf)])
    assert only(tables).close == 1.5


def test_the_newest_rows_stay_and_a_cap_counts_for_each_table(load: Load) -> None:
    tables = load(series(MIDNIGHT, 40), cap=3)  # 00:00 to 03:15
    assert sorted(tables["eurusd", "M5"]) == [at(3, 5), at(3, 10), at(3, 15)]
    assert sorted(tables["eurusd", "H1"]) == [at(1), at(2), at(3)]
    assert sorted(tables["eurusd", "H2"]) == [at(0), at(2)]


def test_rejected_rows_do_not_count_for_the_cap(load: Load) -> None:
    tables = load([*series(MIDNIGHT, 3), bar(MIDNIGHT + 900, open=DBL_MAX)], cap=2)
    assert sorted(tables["eurusd", "M5"]) == [at(0, 5), at(0, 10)]


def test_dynamic_columns_live_on_the_newest_row_of_each_table(load: Load) -> None:
    tables = load(
        [
            bar(
                MIDNIGHT + place * 900,
                fractals=f"[{place}]",
                horizontal_trendlines=f"[{place}1]",
                diagonal_trendlines=f"[{place}2]",
                zigzag=f"[{place}3]",
            )
            for place in range(6)  # 00:00 to 01:15
        ]
    )

    def dynamic(timeframe: str) -> dict[datetime, tuple[object, object, object]]:
        return {
            stamp: (candle.fractals, candle.horizontal_trendlines, candle.diagonal_trendlines)
            for stamp, candle in tables["eurusd", timeframe].items()
        }

    nothing = (None, None, None)
    assert dynamic("H1") == {at(0): nothing, at(1): ([Decimal(4)], [Decimal(41)], [Decimal(42)])}
    assert dynamic("M30") == {
        at(0): nothing,
        at(0, 30): nothing,
        at(1): ([Decimal(4)], [Decimal(41)], [Decimal(42)]),
    }
    assert dynamic("M15")[at(1)] == nothing
    assert dynamic("M15")[at(1, 15)] == ([Decimal(5)], [Decimal(51)], [Decimal(52)])
    assert tables["eurusd", "M15"][at(0, 15)].zigzag == [Decimal(13)]  # not dynamic


def test_an_unreadable_dynamic_value_is_null_and_not_the_previous_one(load: Load) -> None:
    tables = load([bar(MIDNIGHT, fractals="[1]"), bar(MIDNIGHT + 300, fractals="[")])
    assert [candle.fractals for candle in tables["eurusd", "M5"].values()] == [None, None]


def test_the_result_follows_the_content_of_the_file(tmp_path: Path) -> None:
    with Collector(tmp_path / "trading_data.db") as collector:
        collector.create(["EURUSD"])
        collector.write("EURUSD", [bar(MIDNIGHT), bar(MIDNIGHT + 300)])
        collector.write("EURUSD", [bar(MIDNIGHT + 300, low=DBL_MAX)])
        assert list(expected_tables(collector.path)["eurusd", "M5"]) == [at(0)]
        collector.write("EURUSD", [bar(MIDNIGHT + 300, low=0.5)])
        assert expected_tables(collector.path)["eurusd", "M5"][at(0, 5)].low == 0.5


def test_two_rows_of_one_timestamp_have_no_answer(load: Load) -> None:
    with pytest.raises(ValueError, match=f"EURUSD: two valid rows with timestamp {MIDNIGHT}"):
        load([bar(MIDNIGHT), bar(MIDNIGHT)], ddl=UNTYPED)


# --- tables of the file ----------------------------------------------------------------------


def test_all_135_tables_are_expected_and_a_missing_or_empty_symbol_has_none_of_the_rows(load: Load) -> None:
    tables = load([])
    assert len(tables) == 135
    assert {symbol.upper() for symbol, _ in tables} == set(SYMBOLS)
    assert not any(tables.values())


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["EURUSD"], "EURUSD"),
        (["eurusd"], "eurusd"),
        (["EURUSD.i"], "EURUSD.i"),
        (["EurUsd.PRO"], "EurUsd.PRO"),
        (["EURUSD.raw"], "EURUSD.raw"),
        (["EURUSD.std"], "EURUSD.std"),
        (["EURUSD.e"], "EURUSD.e"),
        (["EURUSD.z"], "EURUSD.z"),
        (["EURUSDm"], "EURUSDm"),
        (["EURUSDM", "eurusd", "EURUSD.i"], "eurusd"),
        (["EURUSD.i", "EURUSDm"], None),
        (["EURUSDx", "EURUSD.ecn", "xEURUSD", "EURUSD.", "EURUSD.mm", "USDJPY"], None),
        ([], None),
    ],
)
def test_the_table_of_a_symbol(names: list[str], expected: str | None) -> None:
    assert symbol_table("EURUSD", names) == expected


def test_rows_come_from_the_table_chosen(tmp_path: Path) -> None:
    with Collector(tmp_path / "trading_data.db") as collector:
        collector.create(["EURUSD.i", "eurusd", "GBPUSD.pro", "GBPUSDm", "us30M"])
        for place, table in enumerate(["EURUSD.i", "eurusd", "GBPUSD.pro", "GBPUSDm", "us30M"]):
            collector.write(table, [bar(MIDNIGHT, close=float(place))])
        tables = expected_tables(collector.path)
    assert [candle.close for candle in tables["eurusd", "M5"].values()] == [1.0]
    assert [candle.close for candle in tables["us30", "M5"].values()] == [4.0]
    assert tables["gbpusd", "M5"] == {}


@pytest.mark.parametrize("missing", ["timestamp", "high", "fractals", "smma", "zigzag"])
def test_a_table_that_lacks_a_column_is_not_loaded(load: Load, missing: str) -> None:
    columns = [column for column in ("timestamp", *COLUMNS) if column != missing]
    row = {column: value for column, value in bar(MIDNIGHT).items() if column != missing}
    assert not any(load([row], ddl=f"CREATE TABLE EURUSD ({', '.join(columns)})").values())


def test_columns_in_another_order_and_case_with_one_more_are_the_same_table(load: Load) -> None:
    columns = ["Note", "CLOSE", *(column for column in COLUMNS if column != "close"), "Timestamp"]
    tables = load([bar(MIDNIGHT, Note="n", close=2.5)], ddl=f"CREATE TABLE EURUSD ({', '.join(columns)})")
    assert (only(tables).close, only(tables).open) == (2.5, bar(MIDNIGHT)["open"])


def test_symbols_may_be_chosen(tmp_path: Path) -> None:
    with Collector(tmp_path / "trading_data.db") as collector:
        collector.create(["SPX500"])
        collector.write("SPX500", [bar(MIDNIGHT)])
        tables = expected_tables(collector.path, symbols=["SPX500"])
    assert {symbol for symbol, _ in tables} == {"spx500"}
    assert list(tables["spx500", "D1"]) == [at(0)]
