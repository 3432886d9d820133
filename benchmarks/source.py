"""The SQLite file of a benchmark, and what a collector does to it between ticks."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

from collector.simulator import write_demo_data

HOUR = 3600
DAY = 86_400
END = datetime(2025, 1, 6, 0, 5, tzinfo=timezone.utc)
"""Open of the newest bar: always the same, so that every run measures the same bars, and five past, so that it is
on the grid of M5 alone."""


class Source:
    """A file of M5 bars around the clock; bars can be revised and added.

    Attributes:
        path: the file.
        tables: its tables, one per symbol.
        rows: bars in it at first, over all tables.
        newest: open of every symbol's newest bar, Unix seconds.
    """

    def __init__(
        self, path: Path, symbols: Sequence[str], timeframes: Mapping[str, int], days: int, schema_sql: Path
    ) -> None:
        self.path = path
        self.tables = [symbol.upper() for symbol in symbols]
        self._minutes = list(timeframes.values())
        self.newest = int(END.timestamp())
        summary = write_demo_data(
            path,
            symbols=self.tables,
            days=days,
            end=END,
            market_hours=False,
            schema_sql=schema_sql,
        )
        self.rows = summary.rows

    def revise_forming_bars(self) -> None:
        """Rewrite the newest bar of every symbol, as the collector does until the bar closes."""
        self._execute('update "{table}" set close = close * 1.0001 where timestamp = ?', self.newest)

    def add_bars_on_the_hour(self) -> None:
        """Add a bar to every symbol on the next hour that is on the grid of no timeframe longer than an hour."""
        longer = [minutes * 60 for minutes in self._minutes if minutes > 60]
        hour = (self.newest // HOUR + 1) * HOUR
        while any(hour % length == 0 for length in longer):
            hour += HOUR
        self._add_bars(hour)

    def add_bars_at_midnight(self) -> None:
        """Add a bar to every symbol on the next midnight, which is on every grid."""
        self._add_bars((self.newest // DAY + 1) * DAY)

    def _add_bars(self, timestamp: int) -> None:
        columns = "open, high, low, close, fractals, horizontal_trendlines, diagonal_trendlines, momentum_candles"
        columns += ", keltner_channels, tema, hrma, smma, zigzag"
        self._execute(
            f'insert into "{{table}}" select {timestamp}, {columns} from "{{table}}" where timestamp = ?',
            self.newest,
        )
        self.newest = timestamp

    def _execute(self, statement: str, newest: int) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            for table in self.tables:
                connection.execute(statement.format(table=table), (newest,))
