"""Write a SQLite file as the MetaTrader 5 collector would, forming bars included, with the defects of other collectors.

It replaces fifteen terminals in demos, tests and benchmarks. The file has these defects on purpose, none of which
`collector/mql5` has:

- an empty list without its opening bracket (`"peaks":]`): about `EMPTY_LIST_RATE` of the rows, and every
  chart's first bars, before the first turning point;
- EMPTY_VALUE in each moving average during its warm-up (`WARM_UP_BARS`);
- one JSON value in each `CUT_OFF_EVERY` rows cut off in the middle.

`DemoSummary` counts them, so that a reader of the file can be checked against the counts.
"""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from collector.bars import BAR_SECONDS, EMPTY_VALUE, MARKETS, OTHER_MARKET, Bar, Chart, Market

BARS_PER_DAY = 86_400 // BAR_SECONDS
CUT_OFF_EVERY = 20_000
"""Rows of the file per cut-off JSON value; the first one is in the middle of the first batch."""

JSON_COLUMNS = (
    "fractals",
    "horizontal_trendlines",
    "diagonal_trendlines",
    "momentum_candles",
    "keltner_channels",
    "zigzag",
)
"""Columns that hold JSON; the cut-off values take turns through them."""

_MINUTES_PER_WEEK = 7 * 1440
_FRIDAY_CLOSE = 4 * 1440 + 22 * 60
_SUNDAY_OPEN = 6 * 1440 + 22 * 60


@dataclass
class DemoSummary:
    """What was written.

    Attributes:
        symbols: tables that got rows.
        rows: rows over all symbols, forming bars included.
        forming_bars: symbols whose newest row is the bar that contains `end`.
        empty_values: moving averages that are EMPTY_VALUE.
        dropped_brackets: JSON values readable only after `":]` is repaired to `":[]`.
        cut_off_values: JSON values cut off in the middle.
    """

    symbols: int = 0
    rows: int = 0
    forming_bars: int = 0
    empty_values: int = 0
    dropped_brackets: int = 0
    cut_off_values: int = 0


def write_demo_data(
    path: Path,
    *,
    symbols: Sequence[str],
    days: int,
    end: datetime,
    seed: int = 7,
    market_hours: bool = True,
    around_the_clock: Collection[str] = (),
    schema_sql: Path,
    progress: Callable[[str, int, int], None] | None = None,
) -> DemoSummary:
    """Write `days` days of M5 bars for each symbol, the last one being the bar that contains `end`.

    The same symbols, days, end, seed and trading hours give the same rows. A run that is killed leaves no file
    at `path`.

    Args:
        path: file to create; its folder is created when missing.
        symbols: tables to fill; each must be in the schema. Other tables of the schema stay empty. A column that
            the simulator does not know gets the close if it holds numbers, else NULL.
        days: length of the history, 288 bars each, counted back from `end`.
        end: the moment of the collector's last write, with a time zone. No bar opens later.
        seed: selects the random walk.
        market_hours: leave out Friday 22:00 to Sunday 22:00 UTC. An `end` inside that time leaves those symbols
            without a forming bar.
        around_the_clock: symbols to which `market_hours` does not apply.
        schema_sql: DDL of the file, `sql/sqlite_schema.sql`.
        progress: called after each symbol with its name, the symbols done, and the symbols in all.

    Returns:
        The counts of what was written.

    Raises:
        FileExistsError: `path` exists; it is not touched.
        ValueError: `end` has no time zone, `days` is below 1, or a symbol is repeated or not in the schema.
    """
    if end.tzinfo is None:
        raise ValueError(f"end={end.isoformat()} has no time zone; give it one, such as timezone.utc")
    if days < 1:
        raise ValueError(f"days={days}: at least 1 is needed")
    if len(set(symbols)) != len(symbols):
        raise ValueError(f"symbols={list(symbols)}: a symbol is repeated")
    _refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    try:
        with closing(_open_new(partial, schema_sql)) as connection:
            _require_tables(connection, symbols, schema_sql)
            opens = _bar_opens(days, int(end.timestamp()))
            closing_symbols = set(symbols) - set(around_the_clock) if market_hours else set()
            summary = _fill(connection, symbols, opens, int(end.timestamp()), seed, closing_symbols, progress)
        _refuse_existing(path)
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    return summary


def _refuse_existing(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise FileExistsError(f"{path} exists and is left as it is; delete it first or choose another path")


def _open_new(path: Path, schema_sql: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    # Nobody reads the file before it has its final name, so it needs neither a journal nor fsync.
    connection.execute("pragma journal_mode = off")
    connection.execute("pragma synchronous = off")
    connection.executescript(schema_sql.read_text(encoding="utf-8"))
    return connection


def _require_tables(connection: sqlite3.Connection, symbols: Sequence[str], schema_sql: Path) -> None:
    known = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
    unknown = [symbol for symbol in symbols if symbol not in known]
    if unknown:
        raise ValueError(f"symbols={unknown}: not in {schema_sql}, which has {sorted(known)}")


def _bar_opens(days: int, end: int) -> range:
    """Return the opens of all M5 bars of the history; the last one contains `end`."""
    forming = end - end % BAR_SECONDS
    return range(forming - (days * BARS_PER_DAY - 1) * BAR_SECONDS, forming + 1, BAR_SECONDS)


def market_is_open(timestamp: int) -> bool:
    """Say whether a market that closes at weekends trades: not from Friday 22:00 to Sunday 22:00 UTC.

    A simulated year has no summer time. The hours are a superset of those in which the warehouse expects bars.
    """
    # 1970-01-01 was a Thursday, day 3 of a week that starts on Monday.
    minute_of_week = (timestamp // 60 + 3 * 1440) % _MINUTES_PER_WEEK
    return not _FRIDAY_CLOSE <= minute_of_week < _SUNDAY_OPEN


def _fill(
    connection: sqlite3.Connection,
    symbols: Sequence[str],
    opens: range,
    end: int,
    seed: int,
    closing_symbols: Collection[str],
    progress: Callable[[str, int, int], None] | None,
) -> DemoSummary:
    """Write all symbols in one transaction."""
    summary = DemoSummary()
    connection.execute("begin")
    for done, symbol in enumerate(symbols, start=1):
        market = MARKETS.get(symbol, OTHER_MARKET)
        rows_before = summary.rows
        traded = filter(market_is_open, opens) if symbol in closing_symbols else opens
        bars = _spoilt_and_counted(_chart_bars(symbol, market, traded, end, seed), opens[-1], summary)
        columns = _columns(connection, symbol)
        placeholders = ", ".join("?" for _ in columns)
        connection.executemany(
            f'insert into "{symbol}" ({", ".join(columns)}) values ({placeholders})', _rows(bars, columns)
        )
        summary.symbols += summary.rows > rows_before
        if progress is not None:
            progress(symbol, done, len(symbols))
    connection.execute("commit")
    return summary


def _columns(connection: sqlite3.Connection, symbol: str) -> dict[str, str | None]:
    """The table's columns: name -> the bar's field of that name, the close for another number, or None."""
    found = connection.execute("select name, upper(type) from pragma_table_info(?)", [symbol]).fetchall()
    fallback = {"REAL": "close"}
    return {name: name if name in Bar._fields else fallback.get(declared) for name, declared in found}


def _rows(bars: Iterable[Bar], columns: Mapping[str, str | None]) -> Iterator[Sequence[object]]:
    """The bars in the order of the table's columns; an unknown column is the close or NULL."""
    if tuple(columns.values()) == Bar._fields:
        yield from bars
        return
    for bar in bars:
        yield [getattr(bar, field) if field else None for field in columns.values()]


def _chart_bars(symbol: str, market: Market, opens: Iterable[int], end: int, seed: int) -> Iterator[Bar]:
    # Seeding by name keeps a symbol's bars the same whichever other symbols are written.
    return Chart(market, random.Random(f"{seed}:{symbol}")).bars(opens, end)


def _spoilt_and_counted(bars: Iterable[Bar], forming: int, summary: DemoSummary) -> Iterator[Bar]:
    """Pass the bars on, cutting one JSON value per `CUT_OFF_EVERY` rows, and count into `summary`."""
    for bar in bars:
        summary.rows += 1
        summary.forming_bars += bar.timestamp == forming
        if summary.rows % CUT_OFF_EVERY == CUT_OFF_EVERY // 2:
            bar = _cut_off(bar, summary.cut_off_values)
            summary.cut_off_values += 1
        summary.empty_values += (bar.tema == EMPTY_VALUE) + (bar.hrma == EMPTY_VALUE) + (bar.smma == EMPTY_VALUE)
        summary.dropped_brackets += (
            _has_dropped_bracket(bar.fractals)
            + _has_dropped_bracket(bar.horizontal_trendlines)
            + _has_dropped_bracket(bar.diagonal_trendlines)
            + _has_dropped_bracket(bar.zigzag)
        )
        yield bar


def _has_dropped_bracket(text: str) -> bool:
    # A value cut off in the middle may show the defect too, but repairing it does not make it readable.
    return '":]' in text and text.endswith("}")


def _cut_off(bar: Bar, turn: int) -> Bar:
    """Return the bar with one JSON value halved; which column depends on `turn`."""
    values = list(bar)
    column = Bar._fields.index(JSON_COLUMNS[turn % len(JSON_COLUMNS)])
    text = str(values[column] or "{}")
    values[column] = text[: len(text) // 2]
    return Bar._make(values)
