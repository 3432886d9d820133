"""The collector process stores exactly what a test hands it, seen by a reader in this process."""

from __future__ import annotations

import json
import math
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.collector import BANDS, SYMBOLS, Collector, CollectorError, RawText, bar, series

DBL_MAX = 1.7976931348623157e308
COLUMN_ORDER = [
    *("timestamp", "open", "high", "low", "close", "fractals", "horizontal_trendlines"),
    *("diagonal_trendlines", "momentum_candles", "keltner_channels", "tema", "hrma", "smma", "zigzag"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trading_data.db"


@pytest.fixture
def collector(path: Path) -> Iterator[Collector]:
    with Collector(path) as running:
        running.execute("CREATE TABLE any (id INTEGER PRIMARY KEY, value)")
        yield running


def read(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        return connection.execute(sql).fetchall()


@pytest.mark.parametrize(
    "number",
    [1.1234567890123457, 0.1 + 0.2, 5e-324, DBL_MAX, -DBL_MAX, math.inf, -math.inf, 1e22, -0.0],
)
def test_a_double_arrives_bit_for_bit(collector: Collector, path: Path, number: float) -> None:
    collector.write("any", [{"id": 1, "value": number}])
    ((kind, stored),) = read(path, "SELECT typeof(value), value FROM any")
    assert kind == b"real"
    assert struct.pack(">d", stored) == struct.pack(">d", number)


@pytest.mark.parametrize(
    ("value", "kind", "stored"),
    [
        (None, b"null", None),
        (math.nan, b"null", None),  # SQLite has no NaN
        (2**63 - 1, b"integer", 2**63 - 1),
        (b"\x00\xff{", b"blob", b"\x00\xff{"),
        (b"", b"blob", b""),
        ("", b"text", b""),
        ("f0x1p+0", b"text", b"f0x1p+0"),
        ("zł\n😀", b"text", "zł\n😀".encode()),
        ("a\x00b", b"text", b"a\x00b"),
        (RawText(b"\xff\xfe"), b"text", b"\xff\xfe"),
        (RawText(b'{"a":"\x00\xc3"}'), b"text", b'{"a":"\x00\xc3"}'),
    ],
)
def test_a_value_keeps_its_type_and_bytes(
    collector: Collector, path: Path, value: object, kind: bytes, stored: object
) -> None:
    collector.write("any", [{"id": 1, "value": value}])
    assert read(path, "SELECT typeof(value), CAST(value AS BLOB) IS NULL, value FROM any") == [
        (kind, stored is None, stored)
    ]


def test_execute_returns_awkward_values_too(collector: Collector) -> None:
    values = (None, 7, math.inf, 0.1, "a\x00b", b"\xff", RawText(b"\xff"))
    (row,) = collector.execute("SELECT ?, ?, ?, ?, ?, ?, CAST(? AS TEXT)", values)
    assert row == values
    assert [type(value) for value in row] == [type(None), int, float, float, str, bytes, RawText]


def test_tables_are_declared_as_the_collector_declares_them(path: Path) -> None:
    with Collector(path) as collector:
        collector.create()
    tables = [name.decode() for (name,) in read(path, "SELECT name FROM sqlite_master ORDER BY name")]
    assert tables == sorted(SYMBOLS)
    assert len(tables) == 15
    columns = [
        (name.decode(), kind.decode(), required, key)
        for _, name, kind, required, _, key in read(path, "PRAGMA table_info(EURUSD)")
    ]
    assert [name for name, *_ in columns] == COLUMN_ORDER
    assert columns[0] == ("timestamp", "INTEGER", 0, 1)
    assert columns[1:5] == [(name, "REAL", 1, 0) for name in ("open", "high", "low", "close")]
    assert columns[5] == ("fractals", "TEXT", 0, 0)
    assert columns[10] == ("tema", "REAL", 0, 0)


def test_create_takes_names_and_drop_removes_a_table(path: Path) -> None:
    with Collector(path) as collector:
        collector.create(["eurusd.pro", "GBPUSDm"])
        collector.drop("GBPUSDm")
    assert read(path, "SELECT name FROM sqlite_master") == [(b"eurusd.pro",)]


def test_a_row_replaces_the_one_of_the_same_timestamp(path: Path) -> None:
    with Collector(path) as collector:
        collector.create(["EURUSD"])
        collector.write("EURUSD", series(0, 3))
        collector.write("EURUSD", [bar(300, close=9.5)])
    closes = dict(read(path, "SELECT timestamp, close FROM EURUSD"))
    assert closes == {0: bar(0)["close"], 300: 9.5, 600: bar(600)["close"]}


def test_rows_of_one_write_may_name_different_columns(collector: Collector, path: Path) -> None:
    collector.execute("ALTER TABLE any ADD COLUMN note DEFAULT 'none'")
    collector.write("any", [{"id": 1, "value": 1}, {"id": 2, "note": "n"}, {"id": 3, "value": 3}])
    assert read(path, "SELECT * FROM any") == [(1, 1, b"none"), (2, None, b"n"), (3, 3, b"none")]


def test_a_failing_write_stores_none_of_its_rows_and_the_process_goes_on(path: Path) -> None:
    with Collector(path) as collector:
        collector.create(["EURUSD"])
        with pytest.raises(CollectorError, match=r"IntegrityError: NOT NULL constraint failed: EURUSD\.close"):
            collector.write("EURUSD", [bar(0), bar(300, close=None)])
        collector.write("EURUSD", [bar(600)])
    assert read(path, "SELECT timestamp FROM EURUSD") == [(600,)]


def test_errors_of_the_child_carry_its_message(collector: Collector, tmp_path: Path) -> None:
    with pytest.raises(CollectorError, match="OperationalError: no such table: nowhere"):
        collector.execute("SELECT * FROM nowhere")
    with pytest.raises(CollectorError, match="unable to open database file"), Collector(tmp_path):
        pass
    with pytest.raises(TypeError, match="SQLite stores no dict"):
        collector.write("any", [{"id": 1, "value": {}}])


def test_a_write_inside_begin_is_visible_after_commit_only(collector: Collector, path: Path) -> None:
    collector.execute("BEGIN")
    collector.write("any", [{"id": 1, "value": 1}])
    assert read(path, "SELECT count(*) FROM any") == [(0,)]
    collector.execute("COMMIT")
    assert read(path, "SELECT count(*) FROM any") == [(1,)]


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_the_file_has_the_journal_mode_asked_for(path: Path, journal: Any) -> None:
    with Collector(path, journal) as collector:
        collector.create(["EURUSD"])
        assert read(path, "PRAGMA journal_mode") == [(journal.encode(),)]


def test_a_reader_of_a_rollback_journal_file_makes_the_write_fail(path: Path) -> None:
    with Collector(path, "delete", timeout=0.0) as collector, closing(sqlite3.connect(path)) as reader:
        collector.create(["EURUSD"])
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM EURUSD").fetchall()
        with pytest.raises(CollectorError, match="database is locked"):
            collector.write("EURUSD", [bar(0)])


def test_load_many_writes_every_row_of_any_iterable(path: Path) -> None:
    with Collector(path) as collector:
        collector.create(["EURUSD"])
        collector.load_many("EURUSD", (bar(300 * place) for place in range(7)), batch=3)
    assert read(path, "SELECT count(*), max(timestamp) FROM EURUSD") == [(7, 1800)]


def test_a_closed_collector_takes_no_command(path: Path) -> None:
    with Collector(path) as collector:
        collector.close()
        with pytest.raises(CollectorError, match="not running"):
            collector.execute("SELECT 1")


def test_a_bar_is_whole_plausible_and_depends_on_its_time_only() -> None:
    row: dict[str, Any] = bar(1_700_000_100)
    assert list(row) == COLUMN_ORDER
    assert row == bar(1_700_000_100)
    assert row["close"] != bar(1_700_000_400)["close"]
    assert 1.0 < row["low"] < min(row["open"], row["close"]) <= max(row["open"], row["close"]) < row["high"]
    assert row["high"] < 1.2
    assert row["close"] == bar(1_700_000_400)["open"]


def test_the_json_of_a_bar_has_the_shapes_of_the_source() -> None:
    row: dict[str, Any] = bar(1_700_000_100)
    for column in ("fractals", "zigzag"):
        points = json.loads(row[column])
        assert list(points) == ["peaks", "bottoms"]
        assert [list(point) for point in points["peaks"]] == [["index", "price", "time"]]
    assert list(json.loads(row["horizontal_trendlines"])) == ["peak_1", "bottom_1"]
    assert list(json.loads(row["diagonal_trendlines"])) == ["ascending_1", "descending_1"]
    assert list(json.loads(row["momentum_candles"])[0]) == ["index", "type", "zscore"]
    bands = json.loads(row["keltner_channels"])
    assert tuple(bands) == BANDS
    assert (len(bands), BANDS[0], BANDS[-1]) == (10, "ultra_extreme_upper", "ultra_extreme_lower")
    assert list(bands.values()) == sorted(bands.values(), reverse=True)


def test_a_series_is_evenly_spaced_and_takes_overrides() -> None:
    rows = series(600, 3, step=60, tema=None)
    assert [row["timestamp"] for row in rows] == [600, 660, 720]
    assert [row["tema"] for row in rows] == [None, None, None]
    assert rows[1] == bar(660, tema=None)
