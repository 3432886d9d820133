"""The yardstick of the extraction: the script most people would write to land a SQLite file as it is.

Usage: python -m benchmarks.plain_extract SQLITE_PATH POSTGRES_URI

sqlite3 reads, csv formats, COPY writes, which is the fastest way psycopg2 has; one table per symbol with a
primary key. It lands what fits its columns: one bad value anywhere ends it.
"""

from __future__ import annotations

import csv
import io
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import psycopg2

from benchmarks.plain_script import AVERAGES, COLUMNS, PRICES, SYMBOLS


def land(sqlite_path: Path, postgres_uri: str) -> None:
    """Copy every symbol's table into an empty `staging.<symbol>`, all in one transaction."""
    numbers = {*PRICES, *AVERAGES}
    fields = ", ".join(f"{name} {'double precision' if name in numbers else 'text'}" for name in COLUMNS[1:])
    with (
        closing(sqlite3.connect(f"{sqlite_path.resolve().as_uri()}?mode=ro", uri=True)) as source,
        closing(psycopg2.connect(postgres_uri)) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("create schema staging")
        for symbol in SYMBOLS:
            cursor.execute(f"create table staging.{symbol} (timestamp bigint primary key, {fields})")
            buffer = io.StringIO()
            csv.writer(buffer).writerows(source.execute(f'select {", ".join(COLUMNS)} from "{symbol}"'))
            buffer.seek(0)
            cursor.copy_expert(f"copy staging.{symbol} from stdin (format csv)", buffer)


if __name__ == "__main__":
    land(Path(sys.argv[1]), sys.argv[2])
