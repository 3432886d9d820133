"""What every file must pass that the collector has written in a stand-in terminal."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from tests.support.mql5.expected import Expected, Row, differences, markets, stored
from tests.support.mql5.terminal import Terminal

TABLES = {"EURUSD": "EURUSD", "XAUUSD.pro": "XAUUSD"}


def expected_rows(terminal: Terminal, tables: Mapping[str, str] = TABLES) -> dict[str, dict[int, Row]]:
    """Table -> the rows that the terminal's market calls for."""
    found = markets(terminal.dump)
    return {table: Expected(found[name][1], found[name][0]).rows() for name, table in tables.items()}


def stored_rows(terminal: Terminal, tables: Mapping[str, str] = TABLES) -> dict[str, dict[int, Row]]:
    """Table -> the rows of the file."""
    return {table: stored(terminal.file, table) for table in tables.values()}


def check(terminal: Terminal, tables: Mapping[str, str] = TABLES) -> dict[str, dict[int, Row]]:
    """Demand that the file holds what the market had when it was written last, and return that."""
    expected, found = expected_rows(terminal, tables), stored_rows(terminal, tables)
    for table in expected:
        assert expected[table]
        assert differences(expected[table], found[table]) == [], table
    return expected


def query(terminal: Terminal, sql: str) -> list[tuple[Any, ...]]:
    """Rows of a query on the file."""
    with closing(sqlite3.connect(terminal.file)) as connection:
        return connection.execute(sql).fetchall()
