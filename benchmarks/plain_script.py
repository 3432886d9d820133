"""The yardstick: the script most people would write for the job of the candle pipeline.

    python benchmarks/plain_script.py SQLITE_PATH POSTGRES_URI --schema plain

sqlite3 reads, Python filters and cleans row by row, psycopg2's `execute_batch` upserts. It is meant to be
a fair opponent: each symbol is read and cleaned once for all its timeframes, columns that would be cleared
again are not sent, and everything else is left at sensible defaults. It also does less than the pipeline:
no staging, no rejects, no late rows or corrections, no isolation of a broken symbol.
"""

from __future__ import annotations

import argparse
import json
import math
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2 names its class in lower case
from psycopg2.extras import execute_batch

SYMBOLS = (
    "AUDJPY", "AUDUSD", "BTCUSD", "ETHUSD", "EURUSD", "GBPJPY", "GBPUSD", "NDX100",
    "NZDUSD", "US30", "USDCAD", "USDCHF", "USDJPY", "XAGUSD", "XAUUSD",
)  # fmt: skip
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
"""Minutes per bar."""

PRICES = ("open", "high", "low", "close")
DYNAMIC = ("fractals", "horizontal_trendlines", "diagonal_trendlines")
JSONS = (*DYNAMIC, "momentum_candles", "keltner_channels", "zigzag")
AVERAGES = ("tema", "hrma", "smma")
COLUMNS = ("timestamp", *PRICES, *DYNAMIC, "momentum_candles", "keltner_channels", *AVERAGES, "zigzag")
EMPTY_VALUE = 1.7976931348623157e308

Row = dict[str, Any]


def sync(
    sqlite_path: Path,
    connection: Connection,
    schema: str,
    symbols: Sequence[str],
    timeframes: Mapping[str, int],
    max_rows: int = 10_000,
) -> int:
    """Bring the tables `<schema>.<symbol>_<timeframe>` up to date with the SQLite file.

    Args:
        sqlite_path: the collector's file.
        connection: an open Postgres connection; committed after each symbol.
        schema: Postgres schema of the tables; created, with them, when missing.
        symbols: names of the SQLite tables.
        timeframes: minutes per bar, by name.
        max_rows: newest rows to keep in each table.

    Returns:
        The rows sent to Postgres, over all tables.
    """
    written = 0
    with closing(sqlite3.connect(f"{sqlite_path.resolve().as_uri()}?mode=ro", uri=True)) as source:
        source.row_factory = sqlite3.Row
        with connection.cursor() as cursor:
            cursor.execute(f"create schema if not exists {schema}")
            for symbol in symbols:
                tables = {name: f"{schema}.{symbol}_{name}".lower() for name in timeframes}
                for table in tables.values():
                    create_table(cursor, table)
                written += sync_symbol(source, cursor, symbol, tables, timeframes, max_rows)
                connection.commit()
    return written


def sync_symbol(
    source: sqlite3.Connection,
    cursor: Any,
    symbol: str,
    tables: Mapping[str, str],
    timeframes: Mapping[str, int],
    max_rows: int,
) -> int:
    """Read one symbol once, from the oldest watermark of its tables, and bring each table up to date."""
    newest = {name: newest_timestamp(cursor, table) for name, table in tables.items()}
    # Inclusive, so that the revisions of the bar that was forming last time are read again.
    rows = read_rows(source, symbol, since=min(newest.values()))
    written = 0
    for name, minutes in timeframes.items():
        bars = bars_of_timeframe(rows, minutes, since=newest[name])
        if bars:
            upsert(cursor, tables[name], bars)
            clear_dynamic_columns(cursor, tables[name])
            prune(cursor, tables[name], max_rows)
            written += len(bars)
    return written


def create_table(cursor: Any, table: str) -> None:
    """Create one candle table."""
    cursor.execute(f"""
        create table if not exists {table} (
            timestamp timestamptz primary key,
            open double precision not null,
            high double precision not null,
            low double precision not null,
            close double precision not null,
            fractals jsonb,
            horizontal_trendlines jsonb,
            diagonal_trendlines jsonb,
            momentum_candles jsonb,
            keltner_channels jsonb,
            tema double precision,
            hrma double precision,
            smma double precision,
            zigzag jsonb,
            synced_at timestamptz not null default now()
        )
    """)


def newest_timestamp(cursor: Any, table: str) -> int:
    """Return the newest bar of a table in Unix seconds, 0 when it is empty."""
    cursor.execute(f"select coalesce(extract(epoch from max(timestamp)), 0)::bigint from {table}")
    return int(cursor.fetchone()[0])


def read_rows(source: sqlite3.Connection, symbol: str, since: int) -> list[Row]:
    """Return the symbol's cleaned rows from `since` on, oldest first; a row with a bad price is left out."""
    found = source.execute(
        f'select {", ".join(COLUMNS)} from "{symbol}" where timestamp >= ? order by timestamp', (since,)
    )
    return [row for row in map(clean_row, found) if row is not None]


def clean_row(row: sqlite3.Row) -> Row | None:
    """Return the row with every value Postgres cannot or should not hold as None; None for a bad price."""
    clean = dict(row)
    for column in PRICES:
        clean[column] = clean_number(clean[column])
    for column in AVERAGES:
        clean[column] = clean_number(clean[column]) or None  # 0 is those indicators' "no value"
    if any(clean[column] is None for column in PRICES):
        return None
    for column in JSONS:
        clean[column] = clean_json(clean[column])
    return clean


def clean_number(value: object) -> float | None:
    """Return the number, or None for EMPTY_VALUE, infinity, NaN and everything that is no number."""
    if not isinstance(value, (int, float)) or not math.isfinite(value) or abs(value) >= EMPTY_VALUE:
        return None
    return float(value)


def clean_json(text: object) -> str | None:
    """Return JSON that Postgres accepts, with the collector's dropped bracket repaired, or None."""
    if not isinstance(text, str):
        return None
    text = text.replace('":]', '":[]')
    try:
        json.loads(text, parse_constant=refuse_constant)
    except ValueError:
        return None
    # jsonb cannot hold the character zero.
    return None if "\\u0000" in text else text


def refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python's parser takes and Postgres does not."""
    raise ValueError(name)


def bars_of_timeframe(rows: Iterable[Row], minutes: int, since: int) -> list[Row]:
    """Return the rows on the timeframe's grid, from `since` on; of several in one minute the newest."""
    bars: dict[int, Row] = {}
    for row in rows:
        minute = row["timestamp"] // 60
        if minute % 1440 % minutes == 0 and minute * 60 >= since:
            bars[minute] = row
    return [{**row, "timestamp": datetime.fromtimestamp(minute * 60, timezone.utc)} for minute, row in bars.items()]


def upsert(cursor: Any, table: str, bars: list[Row]) -> None:
    """Insert the bars, or overwrite those that are there."""
    for bar in bars[:-1]:
        # Only the newest row keeps these; leaving them out here saves sending what would be cleared next.
        bar.update(dict.fromkeys(DYNAMIC))
    values = ", ".join(f"%({column})s" for column in COLUMNS)
    updates = ", ".join(f"{column} = excluded.{column}" for column in COLUMNS[1:])
    execute_batch(
        cursor,
        f"insert into {table} ({', '.join(COLUMNS)}) values ({values}) "
        f"on conflict (timestamp) do update set {updates}, synced_at = now()",
        bars,
    )


def clear_dynamic_columns(cursor: Any, table: str) -> None:
    """Take the dynamic columns from every row that is no longer the newest."""
    cursor.execute(
        f"update {table} set {', '.join(f'{column} = null' for column in DYNAMIC)} "
        f"where timestamp < (select max(timestamp) from {table}) "
        f"and ({' or '.join(f'{column} is not null' for column in DYNAMIC)})"
    )


def prune(cursor: Any, table: str, max_rows: int) -> None:
    """Delete all but the newest rows."""
    cursor.execute(
        f"delete from {table} where timestamp < "
        f"(select timestamp from {table} order by timestamp desc offset %s limit 1)",
        (max_rows - 1,),
    )


def main() -> None:
    """Sync once and print the time it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sqlite_path", type=Path)
    parser.add_argument("postgres_uri")
    parser.add_argument("--schema", default="plain")
    arguments = parser.parse_args()
    with closing(psycopg2.connect(arguments.postgres_uri)) as connection:
        started = time.perf_counter()
        written = sync(arguments.sqlite_path, connection, arguments.schema, SYMBOLS, TIMEFRAMES)
        print(f"{written} rows in {time.perf_counter() - started:.2f} s")


if __name__ == "__main__":
    main()
