"""What the 135 candle tables must hold, worked out from the SQLite file in plain Python.

The oracle shares no code with the product: it reads the file with the standard library, decides
row by row in ordinary loops, and never asks Postgres to judge a value. A table is a dictionary
from bar open (aware UTC, whole minutes) to `Candle`; a value of None is an SQL NULL.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta, timezone
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from psycopg2.extensions import TRANSACTION_STATUS_IDLE, connection, cursor

from tests.support.collector import SYMBOLS as SYMBOLS
from tests.support.oracle_values import (
    Text,
    in_timeframe,
    json_of_text,
    json_value,
    number,
    same_json,
    sampled_minute,
    unix_seconds,
)

TIMEFRAMES = {
    "M5": 5,
    "M15": 15,
    "M30": 30,
    "H1": 60,
    "H2": 120,
    "H4": 240,
    "H8": 480,
    "H12": 720,
    "D1": 1440,
}
"""Grid of each timeframe in minutes, counted from 00:00 UTC."""

SUFFIXES = (".i", ".pro", ".raw", ".std", ".e", ".z", "m")
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

PRICES = ("open", "high", "low", "close")
AVERAGES = ("tema", "hrma", "smma")
DYNAMIC = ("fractals", "horizontal_trendlines", "diagonal_trendlines")
JSON_COLUMNS = (*DYNAMIC, "momentum_candles", "keltner_channels", "zigzag")


@dataclasses.dataclass(frozen=True)
class Candle:
    """The columns of one row beside its timestamp; JSON as dict, list, str, bool and Decimal."""

    open: float
    high: float
    low: float
    close: float
    fractals: object = None
    horizontal_trendlines: object = None
    diagonal_trendlines: object = None
    momentum_candles: object = None
    keltner_channels: object = None
    tema: float | None = None
    hrma: float | None = None
    smma: float | None = None
    zigzag: object = None


COLUMNS = tuple(field.name for field in dataclasses.fields(Candle))
Tables = dict[tuple[str, str], dict[datetime, Candle]]


# --- the SQLite file -------------------------------------------------------------------------


def expected_tables(sqlite_path: str | Path, *, cap: int = 10_000, symbols: Sequence[str] = SYMBOLS) -> Tables:
    """The rows of every `(symbol, timeframe)`, such as `("eurusd", "H1")`, for the file as it is now.

    A symbol without a usable table has nine empty tables. At most `cap` newest rows a table.

    Raises:
        ValueError: two valid rows have the same timestamp, so no rule says which one counts.
    """
    tables: Tables = {}
    uri = Path(sqlite_path).resolve().as_uri() + "?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as source:
        source.text_factory = Text
        source.execute("BEGIN")  # one snapshot for all symbols
        names = [name.decode() for (name,) in source.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for symbol in symbols:
            name = symbol_table(symbol, names)
            usable = name is not None and _has_all_columns(source, name)
            bars = _bar_of_each_minute(source, name) if name is not None and usable else {}
            for timeframe, rows in _candles(bars, cap).items():
                tables[symbol.lower(), timeframe] = rows
    return tables


def symbol_table(symbol: str, names: Iterable[str]) -> str | None:
    """The table of `symbol`: its exact name in any case, else the only one with a broker suffix."""
    by_lower_name = {name.lower(): name for name in names}
    exact = by_lower_name.get(symbol.lower())
    if exact is not None:
        return exact
    suffixed = [symbol.lower() + suffix for suffix in SUFFIXES if symbol.lower() + suffix in by_lower_name]
    return by_lower_name[suffixed[0]] if len(suffixed) == 1 else None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _has_all_columns(source: sqlite3.Connection, table: str) -> bool:
    present = {row[1].decode().lower() for row in source.execute(f"PRAGMA table_info({_quoted(table)})")}
    return present.issuperset({"timestamp", *COLUMNS})


def _as_selected(column: str) -> str:
    if column not in JSON_COLUMNS:
        return f'"{column}"'
    # A number in a JSON column counts as its text, as SQLite itself writes it.
    is_number = f"typeof(\"{column}\") IN ('integer', 'real')"
    return f'CASE WHEN {is_number} THEN CAST("{column}" AS TEXT) ELSE "{column}" END'


class _Bar(NamedTuple):
    timestamp: int
    values: tuple[Any, ...]


def _bar_of_each_minute(source: sqlite3.Connection, table: str) -> dict[int, _Bar]:
    """The valid row with the greatest timestamp of each minute on the finest grid, by minute start."""
    bars: dict[int, _Bar] = {}
    selected = ", ".join(_as_selected(column) for column in COLUMNS)
    for stored, *values in source.execute(f'SELECT "timestamp", {selected} FROM {_quoted(table)}'):
        timestamp = unix_seconds(stored)
        if timestamp is None or not in_timeframe(timestamp, TIMEFRAMES["M5"]):
            continue
        if any(number(price) is None for price in values[: len(PRICES)]):
            continue
        known = bars.get(sampled_minute(timestamp))
        if known is not None and known.timestamp == timestamp:
            raise ValueError(f"{table}: two valid rows with timestamp {timestamp}")
        if known is None or known.timestamp < timestamp:
            bars[sampled_minute(timestamp)] = _Bar(timestamp, tuple(values))
    return bars


def _candles(bars: Mapping[int, _Bar], cap: int) -> dict[str, dict[datetime, Candle]]:
    """The nine tables of one symbol. Only rows that stay are read in full, each of them once."""
    tables: dict[str, dict[datetime, Candle]] = {}
    older: dict[int, Candle] = {}
    newest_first = sorted(bars, reverse=True)
    for timeframe, minutes in TIMEFRAMES.items():
        kept = [minute for minute in newest_first if in_timeframe(minute, minutes)][:cap]
        for minute in kept:
            if minute not in older:
                older[minute] = _candle(bars[minute], dynamic=False)
        rows = {EPOCH + timedelta(seconds=minute): older[minute] for minute in kept}
        if kept:
            rows[EPOCH + timedelta(seconds=kept[0])] = _candle(bars[kept[0]], dynamic=True)
        tables[timeframe] = rows
    return tables


def _candle(bar: _Bar, *, dynamic: bool) -> Candle:
    values: dict[str, Any] = dict(zip(COLUMNS, bar.values, strict=True))
    for column in PRICES:
        values[column] = number(values[column])
    for column in AVERAGES:
        values[column] = number(values[column]) or None  # an average of prices is never 0: that is "no value"
    for column in JSON_COLUMNS:
        values[column] = json_value(values[column]) if dynamic or column not in DYNAMIC else None
    return Candle(**values)


# --- the database ----------------------------------------------------------------------------

_TIMESTAMP = ("timestamp with time zone", "NO")
SHAPE = {
    "timestamp": _TIMESTAMP,
    **dict.fromkeys(PRICES, ("double precision", "NO")),
    **dict.fromkeys(AVERAGES, ("double precision", "YES")),
    **dict.fromkeys(JSON_COLUMNS, ("jsonb", "YES")),
    "synced_at": _TIMESTAMP,
}
"""Data type and `is_nullable` of every column, as information_schema names them."""


class DatabaseRow(NamedTuple):
    """One row as read from Postgres: bar open in microseconds, doubles as big-endian hex, JSON as text."""

    microseconds: int | None
    values: tuple[str | None, ...]
    is_synced: bool


def differences(connection: connection, expected: Tables, *, limit: int = 20) -> list[str]:
    """One line for each way in which the tables of schema public are not `expected`; at most `limit`.

    The transaction the reading begins is ended again; one the caller is already in stays open.
    """
    was_idle = connection.info.transaction_status == TRANSACTION_STATUS_IDLE
    try:
        with connection.cursor() as reader:
            shapes, keys = _shapes(reader), _primary_keys(reader)
            lines = chain.from_iterable(
                _table_differences(reader, f"{symbol}_{timeframe.lower()}", rows, shapes, keys)
                for (symbol, timeframe), rows in expected.items()
            )
            found = list(islice(lines, limit + 1))
    finally:
        if was_idle:
            connection.rollback()
    return found if len(found) <= limit else [*found[:limit], "more differences are not listed"]


Shape = dict[str, tuple[str, str]]


def _shapes(reader: cursor) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    reader.execute(
        "select table_name, column_name, data_type, is_nullable"
        " from information_schema.columns where table_schema = 'public'"
    )
    for table, column, data_type, is_nullable in reader:
        shapes.setdefault(table, {})[column] = (data_type, is_nullable)
    return shapes


def _primary_keys(reader: cursor) -> dict[str, list[str]]:
    keys: dict[str, list[str]] = {}
    reader.execute(
        "select table_name, column_name from information_schema.key_column_usage"
        " join information_schema.table_constraints"
        " using (constraint_schema, constraint_name, table_schema, table_name)"
        " where table_schema = 'public' and constraint_type = 'PRIMARY KEY' order by ordinal_position"
    )
    for table, column in reader:
        keys.setdefault(table, []).append(column)
    return keys


def _table_differences(
    reader: cursor,
    table: str,
    rows: Mapping[datetime, Candle],
    shapes: Mapping[str, Shape],
    keys: Mapping[str, list[str]],
) -> Iterator[str]:
    if table not in shapes:
        yield f"{table}: the table is missing"
        return
    yield from shape_differences(table, shapes[table], keys.get(table, []))
    if all(shapes[table].get(column, ("",))[0] == data_type for column, (data_type, _) in SHAPE.items()):
        yield from row_differences(table, rows, database_rows(reader, table))


def shape_differences(table: str, shape: Shape, primary_key: Sequence[str]) -> Iterator[str]:
    """Columns whose type or nullability is not the specified one, and a key that is not the timestamp."""
    for column in sorted(SHAPE.keys() | shape.keys()):
        expected, got = SHAPE.get(column, "no such column"), shape.get(column, "no such column")
        if expected != got:
            yield f"{table}.{column}: expected {_shown(expected)}, got {_shown(got)}"
    if list(primary_key) != ["timestamp"]:
        yield f"{table}: expected primary key ['timestamp'], got {list(primary_key)}"


def database_rows(reader: cursor, table: str) -> Iterator[DatabaseRow]:
    """The rows of one table of schema public, in no order."""
    values = [
        f'"{column}"::text' if column in JSON_COLUMNS else f"""encode(float8send("{column}"), 'hex')"""
        for column in COLUMNS
    ]
    reader.execute(
        "select case when isfinite(timestamp) then (extract(epoch from timestamp) * 1000000)::bigint end,"
        f' {", ".join(values)}, synced_at is not null from public."{table}"'
    )
    for microseconds, *row, is_synced in reader:
        yield DatabaseRow(microseconds, tuple(row), is_synced)


def row_differences(table: str, rows: Mapping[datetime, Candle], got: Iterable[DatabaseRow]) -> Iterator[str]:
    """Missing, extra and unequal rows of one table, oldest first."""
    wanted = {(timestamp - EPOCH) // timedelta(microseconds=1): candle for timestamp, candle in rows.items()}
    found: dict[int, DatabaseRow] = {}
    for row in got:
        if row.microseconds is None or row.microseconds in found:
            yield f"{table}: a row whose timestamp is not finite or not unique"
        else:
            found[row.microseconds] = row
    for microseconds in sorted(wanted.keys() | found.keys()):
        if microseconds not in found:
            yield f"{table} {_instant(microseconds)}: the row is missing"
        elif microseconds not in wanted:
            yield f"{table} {_instant(microseconds)}: the row should not be there"
        else:
            for difference in _value_differences(wanted[microseconds], found[microseconds]):
                yield f"{table} {_instant(microseconds)} {difference}"


def _value_differences(candle: Candle, row: DatabaseRow) -> Iterator[str]:
    for column, stored in zip(COLUMNS, row.values, strict=True):
        expected = getattr(candle, column)
        if column in JSON_COLUMNS:
            got = None if stored is None else json_of_text(stored.encode())
            equal = same_json(expected, got)
        else:
            got = None if stored is None else struct.unpack(">d", bytes.fromhex(stored))[0]
            equal = stored == (None if expected is None else struct.pack(">d", expected).hex())
        if not equal:
            yield f"{column}: expected {_shown(expected)}, got {_shown(got)}"
    if not row.is_synced:
        yield "synced_at: expected a time, got NULL"


def _instant(microseconds: int) -> str:
    try:
        return (EPOCH + timedelta(microseconds=microseconds)).isoformat().replace("+00:00", "Z")
    except OverflowError:  # Postgres knows years that Python does not
        return f"epoch {microseconds / 1e6:.0f} s"


def _shown(value: object) -> str:
    if value is None:
        return "NULL"
    is_nested = isinstance(value, (dict, list))
    text = json.dumps(value, default=repr, sort_keys=True) if is_nested else str(value)
    return text if len(text) <= 300 else text[:300] + "…"
