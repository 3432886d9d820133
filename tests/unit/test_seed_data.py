"""The committed SQLite scripts run as documented, and the seed shows every quirk its header lists."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timezone
from math import inf
from pathlib import Path

import pytest
import yaml

SQL = Path(__file__).parents[2] / "sql"
LISTS = yaml.safe_load((SQL.parent / "dbt_project" / "dbt_project.yml").read_text(encoding="utf-8"))["vars"]
PRICE = ("REAL", 1)
COLUMNS = {
    "timestamp": ("INTEGER", 0),
    "open": PRICE,
    "high": PRICE,
    "low": PRICE,
    "close": PRICE,
    "fractals": ("TEXT", 0),
    "horizontal_trendlines": ("TEXT", 0),
    "diagonal_trendlines": ("TEXT", 0),
    "momentum_candles": ("TEXT", 0),
    "keltner_channels": ("TEXT", 0),
    "tema": ("REAL", 0),
    "hrma": ("REAL", 0),
    "smma": ("REAL", 0),
    "zigzag": ("TEXT", 0),
}
EMPTY_VALUE = 1.7976931348623157e308
# At 01:50 the six characters \u0000 stand inside the text; Python's parser reads them, Postgres' does not.
NUL_ESCAPE = "\\" + "u0000"

Bars = dict[str, sqlite3.Row]


def load(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for name in ("sqlite_schema.sql", "seed_data.sql"):
            connection.executescript((SQL / name).read_text(encoding="utf-8"))


def rows(path: Path, sql: str) -> list[sqlite3.Row]:
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("seed") / "trading_data.db"
    load(path)
    return path


@pytest.fixture(scope="module")
def bars(seeded: Path) -> Bars:
    """The EURUSD rows by their UTC time, `HH:MM:SS`."""
    found = rows(seeded, "select * from EURUSD order by timestamp")
    return {datetime.fromtimestamp(row["timestamp"], timezone.utc).strftime("%H:%M:%S"): row for row in found}


def test_schema_has_a_table_per_symbol_with_the_listed_columns(tmp_path: Path) -> None:
    path = tmp_path / "schema.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((SQL / "sqlite_schema.sql").read_text(encoding="utf-8"))
    names = [row["name"] for row in rows(path, "select name from sqlite_master where type = 'table'")]
    assert sorted(names) == sorted(symbol.upper() for symbol in LISTS["symbols"])
    kinds = {"price": PRICE, "number": ("REAL", 0), "json": ("TEXT", 0)}
    expected = {"timestamp": ("INTEGER", 0)} | {each["name"]: kinds[each["kind"]] for each in LISTS["candle_columns"]}
    for name in names:
        info = rows(path, f'pragma table_info("{name}")')
        assert {row["name"]: (row["type"].upper(), row["notnull"]) for row in info} == expected
        assert [row["name"] for row in info if row["pk"]] == ["timestamp"]


def test_the_listed_columns_are_the_seed_s_and_others(seeded: Path) -> None:
    info = rows(seeded, 'pragma table_info("EURUSD")')
    found = {row["name"]: (row["type"].upper(), row["notnull"]) for row in info}
    assert COLUMNS.items() <= found.items()


def test_the_seed_needs_no_schema(tmp_path: Path) -> None:
    path = tmp_path / "seed.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((SQL / "seed_data.sql").read_text(encoding="utf-8"))
    assert [row["n"] for row in rows(path, "select count(*) as n from EURUSD")] == [100]


def test_seed_is_a_hundred_bars_of_one_morning(bars: Bars) -> None:
    first, *_, last = (row["timestamp"] for row in bars.values())
    assert len(bars) == 100
    assert datetime.fromtimestamp(first, timezone.utc) == datetime(2025, 1, 6, tzinfo=timezone.utc)
    assert datetime.fromtimestamp(last, timezone.utc) == datetime(2025, 1, 6, 8, 5, tzinfo=timezone.utc)


def test_both_scripts_can_run_again(seeded: Path, tmp_path: Path) -> None:
    twice = tmp_path / "twice.db"
    load(twice)
    load(twice)
    every = "select * from EURUSD order by timestamp"
    assert [tuple(row) for row in rows(twice, every)] == [tuple(row) for row in rows(seeded, every)]


@pytest.mark.parametrize("column", COLUMNS)
def test_every_column_has_values(bars: Bars, column: str) -> None:
    assert sum(row[column] is not None for row in bars.values()) >= 90


def test_json_that_no_quirk_touches_is_valid(bars: Bars) -> None:
    odd = {"01:00", "01:05", "01:10", "01:30", "01:35", "01:40", "01:55", "03:30"}
    texts = [name for name, (kind, _) in COLUMNS.items() if kind == "TEXT"]
    for time, row in bars.items():
        for column in texts:
            if time[:5] not in odd and row[column] is not None:
                assert isinstance(json.loads(row[column]), dict | list), (time, column)


@pytest.mark.parametrize("time", ["00:00:00", "00:05:00", "00:10:00"])
def test_empty_value_in_moving_averages(bars: Bars, time: str) -> None:
    assert [bars[time][name] for name in ("tema", "hrma", "smma")] == [EMPTY_VALUE] * 3


def test_a_row_of_nulls(bars: Bars) -> None:
    assert [bars["00:15:00"][name] for name in list(COLUMNS)[5:]] == [None] * 9


def test_infinities_and_text_in_moving_averages(bars: Bars) -> None:
    assert (bars["00:30:00"]["tema"], bars["00:30:00"]["hrma"]) == (inf, -inf)
    assert (bars["00:45:00"]["tema"], bars["00:45:00"]["smma"]) == ("n/a", "")


@pytest.mark.parametrize(
    ("time", "column", "empty", "filled"),
    [
        ("01:00:00", "fractals", ["peaks"], ["bottoms"]),
        ("01:05:00", "fractals", ["bottoms"], ["peaks"]),
        ("01:10:00", "zigzag", ["peaks", "bottoms"], []),
        ("01:10:00", "horizontal_trendlines", ["peak_1", "bottom_1"], []),
        ("01:10:00", "diagonal_trendlines", ["ascending_1", "descending_1"], []),
    ],
)
def test_dropped_brackets(bars: Bars, time: str, column: str, empty: list[str], filled: list[str]) -> None:
    text = bars[time][column]
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)
    repaired = json.loads(text.replace('":]', '":[]'))
    assert [key for key, value in repaired.items() if not value] == empty
    assert [key for key, value in repaired.items() if value] == filled


@pytest.mark.parametrize(
    ("time", "column"),
    [
        ("01:30:00", "keltner_channels"),
        ("01:35:00", "momentum_candles"),
        ("01:40:00", "zigzag"),
        ("01:55:00", "fractals"),
    ],
)
def test_json_beyond_repair(bars: Bars, time: str, column: str) -> None:
    with pytest.raises(json.JSONDecodeError):
        json.loads(bars[time][column].replace('":]', '":[]'))


def test_json_that_only_postgres_refuses(bars: Bars) -> None:
    assert '"zscore":NaN' in bars["01:45:00"]["momentum_candles"]
    assert NUL_ESCAPE in bars["01:50:00"]["momentum_candles"]


def test_an_empty_list_written_correctly(bars: Bars) -> None:
    assert bars["01:15:00"]["momentum_candles"] == "[]"


def test_rows_off_the_minute_and_off_the_grid(bars: Bars) -> None:
    odd = [time for time in bars if not time.endswith("0:00") and not time.endswith("5:00")]
    assert odd == ["02:00:41", "02:05:07", "04:32:00"]
    assert "02:05:00" not in bars
    # The two rows of one minute differ, so that choosing the wrong one shows.
    assert bars["02:00:00"]["close"] != bars["02:00:41"]["close"]


def test_prices_that_reject_their_row(bars: Bars) -> None:
    def unusable(price: object) -> bool:
        return not isinstance(price, float) or price >= EMPTY_VALUE

    found = {
        time: [row[name] for name in ("open", "high", "low", "close") if unusable(row[name])]
        for time, row in bars.items()
    }
    assert {time: odd for time, odd in found.items() if odd} == {
        "02:30:00": [EMPTY_VALUE],
        "02:35:00": [inf],
        "02:40:00": ["n/a"],
    }


def test_bars_whose_high_or_low_does_not_enclose_them(bars: Bars) -> None:
    def not_enclosing() -> Iterator[str]:
        for time, row in bars.items():
            if time[:5] not in ("02:30", "02:35", "02:40"):
                inside = (row["open"], row["close"])
                if not row["low"] <= min(inside) <= max(inside) <= row["high"]:
                    yield time

    assert list(not_enclosing()) == ["03:00:00", "03:05:00"]
    assert bars["03:00:00"]["high"] < bars["03:00:00"]["close"]
    assert bars["03:05:00"]["low"] > bars["03:05:00"]["open"]


def test_a_blob_in_a_text_column(bars: Bars) -> None:
    assert bars["03:30:00"]["fractals"] == b"\xde\xad\xbe\xef"


def test_doubles_keep_all_their_digits(bars: Bars) -> None:
    row = bars["04:00:00"]
    assert (row["tema"], row["hrma"], row["smma"]) == (1.1234567890123457, 0.1 + 0.2, 1.0850000000000002)


def test_the_forming_bar_is_written_twice_and_ends_with_its_last_revision(bars: Bars) -> None:
    newest = list(bars.values())[-1]
    script = (SQL / "seed_data.sql").read_text(encoding="utf-8").splitlines()
    revisions = [line for line in script if line.startswith(f"({newest[0]},")]
    assert len(revisions) == 2
    assert revisions[0] != revisions[1]
    prices = ", ".join(repr(price) for price in list(newest)[:5])
    assert f"({prices}, " in revisions[1]
    assert f"({prices}, " not in revisions[0]
    assert json.loads(newest["fractals"])["peaks"]
