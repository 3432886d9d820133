"""The SQLite file of a benchmark, and what a collector does to it between ticks."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

from extract.demo_data import write_demo_data

HOUR = 3600


class Source:
    """A file of M5 bars around the clock that ends five past an hour some days ago, so that bars can be added."""

    def __init__(self, path: Path, symbols: Sequence[str], days: int, schema_sql: Path) -> None:
        self.path = path
        self._tables = [symbol.upper() for symbol in symbols]
        self._newest = (int(datetime.now(timezone.utc).timestamp()) // HOUR - 72) * HOUR + 300
        write_demo_data(
            path,
            symbols=self._tables,
            days=days,
            end=datetime.fromtimestamp(self._newest, timezone.utc),
            market_hours=False,
            schema_sql=schema_sql,
        )

    def revise_forming_bars(self) -> None:
        """Rewrite the newest bar of every symbol, as the collector does until the bar closes."""
        self._execute('update "{table}" set close = close * 1.0001 where timestamp = ?', self._newest)

    def add_bars_on_the_hour(self) -> None:
        """Add a bar on the next hour to every symbol."""
        hour = (self._newest // HOUR + 1) * HOUR
        columns = "open, high, low, close, fractals, horizontal_trendlines, diagonal_trendlines, momentum_candles"
        columns += ", keltner_channels, tema, hrma, smma, zigzag"
        self._execute(
            f'insert into "{{table}}" select {hour}, {columns} from "{{table}}" where timestamp = ?',
            self._newest,
        )
        self._newest = hour

    def _execute(self, statement: str, newest: int) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            for table in self._tables:
                connection.execute(statement.format(table=table), (newest,))
