"""The simulated SQLite file holds what it promises, counted here with sqlite3 and json alone."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path

import pytest
import yaml

from collector.simulator import DemoSummary, write_demo_data

ROOT = Path(__file__).parents[2]
SYMBOLS = [
    *("AUDJPY", "AUDUSD", "BTCUSD", "ETHUSD", "EURUSD", "GBPJPY", "GBPUSD", "NDX100", "NZDUSD", "US30", "USDCAD"),
    *("USDCHF", "USDJPY", "XAGUSD", "XAUUSD"),
]
COLUMNS = [
    "timestamp",
    "open",
    "high",
    "low",
    "close",
    "fractals",
    "horizontal_trendlines",
    "diagonal_trendlines",
    "momentum_candles",
    "keltner_channels",
    "tema",
    "hrma",
    "smma",
    "zigzag",
]
JSON_COLUMNS = [name for name in COLUMNS[5:] if name not in ("tema", "hrma", "smma")]
WEDNESDAY = datetime(2025, 1, 8, 12, 3, 20, tzinfo=timezone.utc)
SATURDAY = datetime(2025, 1, 11, 12, 0, tzinfo=timezone.utc)

Row = tuple[object, ...]


def column_type(name: str) -> str:
    if name == "timestamp":
        return "integer primary key"
    return "text" if name in JSON_COLUMNS else "real"


# A schema of these symbols and columns, whatever the project lists; the folder goes when the process ends.
FOLDER = tempfile.TemporaryDirectory()
SCHEMA_SQL = Path(FOLDER.name) / "schema.sql"
SCHEMA_SQL.write_text(
    "".join(
        f"create table {symbol} ({', '.join(f'{name} {column_type(name)}' for name in COLUMNS)});\n"
        for symbol in SYMBOLS
    )
)


def read(path: Path, sql: str) -> list[Row]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def rows_of(path: Path, symbol: str) -> list[dict[str, object]]:
    rows = read(path, f'select {", ".join(COLUMNS)} from "{symbol}" order by timestamp')
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def write(
    path: Path, symbols: list[str], days: int, end: datetime = WEDNESDAY, market_hours: bool = True
) -> DemoSummary:
    return write_demo_data(
        path,
        symbols=symbols,
        days=days,
        end=end,
        market_hours=market_hours,
        around_the_clock=("BTCUSD", "ETHUSD"),
        schema_sql=SCHEMA_SQL,
    )


@cache
def state_of_json(text: str) -> str:
    """Say how a JSON cell reads: as it is, after the one documented repair, or not at all."""
    for state, candidate in (("valid", text), ("dropped", text.replace('":]', '":[]'))):
        try:
            json.loads(candidate)
        except ValueError:
            continue
        return state
    return "unreadable"


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DemoSummary]:
    """Thirty-five days of all symbols, round the clock: the benchmark's file."""
    path = tmp_path_factory.mktemp("demo") / "trading_data.db"
    return path, write(path, SYMBOLS, 35, market_hours=False)


@pytest.fixture(scope="module")
def full_rows(full: tuple[Path, DemoSummary]) -> dict[str, list[dict[str, object]]]:
    return {symbol: rows_of(full[0], symbol) for symbol in SYMBOLS}


def cells(full_rows: dict[str, list[dict[str, object]]], columns: list[str]) -> Iterator[object]:
    return (row[name] for rows in full_rows.values() for row in rows for name in columns)


def test_round_the_clock_is_288_bars_a_day_ending_with_the_forming_bar(
    full: tuple[Path, DemoSummary], full_rows: dict[str, list[dict[str, object]]]
) -> None:
    forming = int(datetime(2025, 1, 8, 12, 0, tzinfo=timezone.utc).timestamp())
    expected = list(range(forming - (35 * 288 - 1) * 300, forming + 1, 300))
    for symbol, rows in full_rows.items():
        assert [row["timestamp"] for row in rows] == expected, symbol
    assert (full[1].rows, full[1].symbols, full[1].forming_bars) == (151_200, 15, 15)


def test_summary_counts_equal_what_the_file_holds(
    full: tuple[Path, DemoSummary], full_rows: dict[str, list[dict[str, object]]]
) -> None:
    texts = [cell for cell in cells(full_rows, JSON_COLUMNS) if cell is not None]
    assert all(isinstance(text, str) for text in texts)
    found = Counter(state_of_json(str(text)) for text in texts)
    averages = list(cells(full_rows, ["tema", "hrma", "smma"]))
    summary = full[1]
    assert found["dropped"] == summary.dropped_brackets
    assert found["unreadable"] == summary.cut_off_values == 8  # rows 10,000, 30,000 … 150,000
    # EMPTY_VALUE in the first 42, 20 and 14 bars of each of the 15 charts.
    assert averages.count(1.7976931348623157e308) == summary.empty_values == 15 * (42 + 20 + 14)
    # One row in 20 by design, and the charts' first bars on top.
    assert 0.04 < found["dropped"] / summary.rows < 0.10


def test_json_has_the_documented_shapes(full_rows: dict[str, list[dict[str, object]]]) -> None:
    shapes: dict[str, set[tuple[str, ...]]] = {name: set() for name in JSON_COLUMNS}
    for row in full_rows["EURUSD"][20:]:
        for name in JSON_COLUMNS:
            text = str(row[name])
            if state_of_json(text) == "valid":
                value = json.loads(text)
                shapes[name] |= {tuple(value)} if isinstance(value, dict) else {tuple(item) for item in value}
    bands = shapes.pop("keltner_channels").pop()
    assert (len(bands), bands[0], bands[-1]) == (10, "ultra_extreme_upper", "ultra_extreme_lower")
    assert shapes == {
        "fractals": {("peaks", "bottoms")},
        "zigzag": {("peaks", "bottoms")},
        "horizontal_trendlines": {("peak_1", "peak_2", "peak_3", "bottom_1", "bottom_2", "bottom_3")},
        "diagonal_trendlines": {
            ("ascending_1", "ascending_2", "ascending_3", "descending_1", "descending_2", "descending_3")
        },
        "momentum_candles": {("time", "type", "zscore")},
    }
    bars = {row["timestamp"]: row for row in full_rows["EURUSD"]}
    last = full_rows["EURUSD"][-1]
    for column in ("fractals", "zigzag", "horizontal_trendlines", "diagonal_trendlines"):
        lists = json.loads(str(last[column]).replace('":]', '":[]'))
        assert any(lists.values())
        for point in (point for points in lists.values() for point in points):
            assert list(point) == ["time", "price"]
            # a point's price is the high or the low of the bar it names
            assert point["price"] in (bars[point["time"]]["high"], bars[point["time"]]["low"])


def test_a_momentum_candle_names_its_bar(full_rows: dict[str, list[dict[str, object]]]) -> None:
    bars = {row["timestamp"]: row for row in full_rows["EURUSD"]}
    texts = {str(row["momentum_candles"]) for row in full_rows["EURUSD"]}
    points = [point for text in texts if state_of_json(text) == "valid" for point in json.loads(text)]
    types = {point["time"]: point["type"] for point in points}
    for point in points:
        bar = bars[point["time"]]
        rises = float(str(bar["close"])) > float(str(bar["open"]))
        assert point["type"] in ((1, 2) if rises else (4, 5)), point
        if abs(point["zscore"]) != 3:  # written with four decimals
            assert (point["type"] in (2, 5)) == (abs(point["zscore"]) > 3), point
        assert abs(point["zscore"]) >= 2, point
    # of a normal distribution, 4.6 % of the bars are beyond 2 deviations and 0.27 % beyond 3
    assert 0.04 < len(types) / len(bars) < 0.05
    assert 0.0013 < sum(kind in (2, 5) for kind in types.values()) / len(bars) < 0.0045


def test_keltner_bands_fall_from_the_first_to_the_last(full_rows: dict[str, list[dict[str, object]]]) -> None:
    rows = full_rows["XAUUSD"]
    assert [row["keltner_channels"] for row in rows[:20]] == [None] * 20
    bands = list(json.loads(str(rows[-1]["keltner_channels"])).values())
    assert bands == sorted(bands, reverse=True)
    assert bands[0] > bands[-1]


def test_prices_are_consistent_and_plausible(full_rows: dict[str, list[dict[str, object]]]) -> None:
    around = {"EURUSD": (1.0850, 5), "USDJPY": (151.3, 3), "XAUUSD": (2640.0, 2), "BTCUSD": (67500.0, 2)}
    for symbol, (level, digits) in around.items():
        for row in full_rows[symbol]:
            open_, high, low, close = (float(str(row[name])) for name in ("open", "high", "low", "close"))
            assert low <= min(open_, close) <= max(open_, close) <= high
            assert [round(price, digits) for price in (open_, high, low, close)] == [open_, high, low, close]
            assert level / 2 < close < level * 2
    closes = [row["close"] for row in full_rows["EURUSD"]]
    assert len(set(closes)) > 1000


def test_averages_follow_the_price(full_rows: dict[str, list[dict[str, object]]]) -> None:
    for row in full_rows["EURUSD"][60:]:
        for name in ("tema", "hrma", "smma"):
            assert abs(float(str(row[name])) / float(str(row["close"])) - 1) < 0.02


def test_market_hours_close_the_weekend_except_for_crypto(tmp_path: Path) -> None:
    path = tmp_path / "week.db"
    summary = write(path, ["EURUSD", "XAUUSD", "US30", "BTCUSD", "ETHUSD"], 7)
    friday_close = datetime(2025, 1, 3, 22, 0, tzinfo=timezone.utc)
    sunday_open = datetime(2025, 1, 5, 22, 0, tzinfo=timezone.utc)
    for symbol in ("EURUSD", "XAUUSD", "US30"):
        opens = [datetime.fromtimestamp(int(str(row["timestamp"])), timezone.utc)
                 for row in rows_of(path, symbol)]  # fmt: skip
        assert [time for time in opens if friday_close <= time < sunday_open] == []
        assert friday_close - timedelta(minutes=5) in opens
        assert sunday_open in opens
        assert len(opens) == 5 * 288
    for symbol in ("BTCUSD", "ETHUSD"):
        assert read(path, f"select count(*) from {symbol}") == [(7 * 288,)]
    assert (summary.rows, summary.symbols, summary.forming_bars) == (3 * 1440 + 2 * 2016, 5, 5)


def test_an_end_at_the_weekend_leaves_closed_markets_without_a_forming_bar(tmp_path: Path) -> None:
    path = tmp_path / "saturday.db"
    summary = write(path, ["EURUSD", "BTCUSD"], 2, SATURDAY)
    last_before_close = int(datetime(2025, 1, 10, 21, 55, tzinfo=timezone.utc).timestamp())
    assert read(path, "select max(timestamp) from EURUSD") == [(last_before_close,)]
    assert read(path, "select max(timestamp) from BTCUSD") == [(int(SATURDAY.timestamp()),)]
    assert summary.forming_bars == 1


@pytest.mark.parametrize(("second", "expected"), [(0, "12:00:00"), (299, "12:00:00"), (300, "12:05:00")])
def test_the_last_bar_is_the_slot_that_contains_end(tmp_path: Path, second: int, expected: str) -> None:
    path = tmp_path / "slot.db"
    end = datetime(2025, 1, 8, 12, 0, tzinfo=timezone.utc) + timedelta(seconds=second)
    write(path, ["EURUSD"], 1, end)
    assert read(path, "select time(max(timestamp), 'unixepoch') from EURUSD") == [(expected,)]
    if end.timestamp() % 300 == 0:
        newest = rows_of(path, "EURUSD")[-1]
        # No time has passed since its open, so its price has not moved.
        assert newest["open"] == newest["high"] == newest["low"] == newest["close"]


def test_end_counts_as_an_instant_whatever_its_time_zone(tmp_path: Path) -> None:
    tokyo = WEDNESDAY.astimezone(timezone(timedelta(hours=9)))
    write(tmp_path / "utc.db", ["EURUSD"], 1)
    write(tmp_path / "tokyo.db", ["EURUSD"], 1, tokyo)
    assert rows_of(tmp_path / "utc.db", "EURUSD") == rows_of(tmp_path / "tokyo.db", "EURUSD")


def test_a_column_no_chart_has_is_a_number_or_null(tmp_path: Path) -> None:
    schema = tmp_path / "schema.sql"
    schema.write_text(SCHEMA_SQL.read_text() + "alter table EURUSD add column vwap real;\n"
                      "alter table EURUSD add column levels text;\n")  # fmt: skip
    path = tmp_path / "more.db"
    write_demo_data(path, symbols=["EURUSD", "GBPUSD"], days=1, end=WEDNESDAY, schema_sql=schema)
    assert read(path, "select count(*), sum(vwap = close), count(levels) from EURUSD") == [(288, 288, 0)]
    write(tmp_path / "plain.db", ["EURUSD", "GBPUSD"], 1)
    assert rows_of(path, "EURUSD") == rows_of(tmp_path / "plain.db", "EURUSD")


def test_the_project_s_own_schema_takes_all_its_symbols(tmp_path: Path) -> None:
    lists = yaml.safe_load((ROOT / "dbt_project" / "dbt_project.yml").read_text(encoding="utf-8"))["vars"]
    symbols = [symbol.upper() for symbol in lists["symbols"]]
    schema = ROOT / "sql" / "sqlite_schema.sql"
    summary = write_demo_data(tmp_path / "all.db", symbols=symbols, days=1, end=WEDNESDAY, schema_sql=schema)
    assert summary.symbols == len(symbols)


def test_same_seed_same_rows_and_another_seed_others(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.db", "b.db", "alone.db", "seed.db")]
    first, second = (write(path, ["EURUSD", "GBPUSD"], 3) for path in paths[:2])
    write(paths[2], ["GBPUSD"], 3)
    write_demo_data(paths[3], symbols=["GBPUSD"], days=3, end=WEDNESDAY, seed=8, schema_sql=SCHEMA_SQL)
    assert first == second
    assert rows_of(paths[0], "EURUSD") == rows_of(paths[1], "EURUSD")
    assert rows_of(paths[0], "GBPUSD") == rows_of(paths[2], "GBPUSD")
    assert rows_of(paths[0], "GBPUSD") != rows_of(paths[3], "GBPUSD")


def test_progress_names_each_symbol_once(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    write_demo_data(
        tmp_path / "p.db",
        symbols=["EURUSD", "US30"],
        days=1,
        end=WEDNESDAY,
        schema_sql=SCHEMA_SQL,
        progress=lambda symbol, done, total: seen.append((symbol, done, total)),
    )
    assert seen == [("EURUSD", 1, 2), ("US30", 2, 2)]


def test_an_existing_file_is_refused_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / "precious.db"
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError, match=r"precious\.db exists"):
        write(path, ["EURUSD"], 1)
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_that_dies_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "half.db"
    during: list[str] = []

    def die(_symbol: str, _done: int, _total: int) -> None:
        during.extend(entry.name for entry in tmp_path.iterdir())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_demo_data(path, symbols=["EURUSD"], days=1, end=WEDNESDAY, schema_sql=SCHEMA_SQL, progress=die)
    # While it was written it had another name, so even a run that cannot clean up leaves no half file.
    assert during
    assert path.name not in during
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("symbols", "days", "end", "message"),
    [
        (["EURUSD", "EURGBP"], 1, WEDNESDAY, r"\['EURGBP'\]: not in"),
        (["EURUSD", "EURUSD"], 1, WEDNESDAY, "repeated"),
        (["EURUSD"], 0, WEDNESDAY, "days=0"),
        (["EURUSD"], 1, WEDNESDAY.replace(tzinfo=None), "no time zone"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    tmp_path: Path, symbols: list[str], days: int, end: datetime, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "none.db", symbols, days, end)
    assert list(tmp_path.iterdir()) == []
