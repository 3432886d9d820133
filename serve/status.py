"""Whether everything is current: what the warehouse holds, what it should hold, and how the last runs went.

The verdict on each table is the view `ops.sync_health`; here it is fetched, counted and put together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg2

from extract.errors import WarehouseError
from extract.settings import Project
from extract.warehouse import Connection, complaint

SOURCE = "mt5"
RUNS_SHOWN = 5
REJECTS_OF = timedelta(hours=24)
"""Age of the bars whose rejects are counted: reading the JSON of all of them takes seconds."""


@dataclass(frozen=True)
class TableState:
    """One candle table.

    Attributes:
        rows: None where the table does not exist yet.
        newest: open of its newest bar.
        expected: open of the newest bar it must have; None where `ops.sync_health` does not know the table.
        lag_seconds: from newest to expected; 0 when current, None for an empty table.
        status: of `ops.sync_health`, or `missing` (no such table), or `unknown` (no verdict on it).
        reason: the status in words, None when current.
    """

    symbol: str
    timeframe: str
    rows: int | None
    newest: datetime | None
    expected: datetime | None
    lag_seconds: float | None
    status: str
    reason: str | None

    @property
    def ok(self) -> bool:
        """Whether the table has the bar it must have."""
        return self.status == "current"


@dataclass(frozen=True)
class SymbolState:
    """How the last run that looked found a symbol's table in the source.

    Attributes:
        status: ok, empty, missing or failed; None where no run has looked yet.
        source_newest: newest bar it read there.
        rejects: values of its bars of the last 24 hours that could not be read; None where there is no such view.
        last_change_at: when rows of the symbol last changed in staging.
        last_error: its last problem, over or not; last_error_at tells when that one first showed.
    """

    symbol: str
    status: str | None
    source_newest: datetime | None
    rejects: int | None
    last_change_at: datetime | None
    last_error: str | None
    last_error_at: datetime | None


@dataclass(frozen=True)
class RunState:
    """A run record; `seconds` is None while it is at work."""

    run_id: int
    command: str
    status: str
    started_at: datetime
    finished_at: datetime | None
    seconds: float | None
    rows_read: int
    rows_changed: int
    rows_rejected: int
    models_built: int
    models_failed: int
    error: str | None


@dataclass(frozen=True)
class Status:
    """Everything `tradehouse status` shows; `problems` is what is stale or broken, a line each."""

    as_of: datetime
    grace_minutes: int
    problems: list[str]
    tables: list[TableState]
    symbols: list[SymbolState]
    runs: list[RunState]

    @property
    def ok(self) -> bool:
        """Whether nothing is stale or broken."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """For JSON; times are datetime objects."""
        return {"ok": self.ok, **asdict(self)}


def read_status(connection: Connection, project: Project, grace_minutes: int) -> Status:
    """Judge, count and date every candle table, and fetch the run records. Reads only.

    Args:
        connection: one transaction, so that all is as of one moment.
        project: the lists.
        grace_minutes: how long after its open a bar may be missing, and after its end a run may have no successor.

    Raises:
        WarehouseError: the server does not let it look, or breaks off.
    """
    try:
        [(as_of, _)] = _rows(
            connection, "select now(), set_config('tradehouse.grace', %s, true)", f"{grace_minutes} minutes"
        )
        tables = _tables(connection, project)
        symbols = _symbols(connection, project, as_of)
        runs = _runs(connection)
    except psycopg2.Error as error:
        raise WarehouseError(f"cannot read the state of the warehouse: {complaint(error, connection.dsn)}") from None
    problems = _problems(project, as_of - timedelta(minutes=grace_minutes), tables, symbols, runs)
    return Status(as_of, grace_minutes, problems, tables, symbols, runs)


def _rows(connection: Connection, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)
        return cursor.fetchall()


def _existing(connection: Connection, relations: Iterable[str]) -> set[str]:
    found = _rows(
        connection, "select name from unnest(%s) as name where to_regclass(name) is not null", list(relations)
    )
    return {row[0] for row in found}


def _tables(connection: Connection, project: Project) -> list[TableState]:
    existing = _existing(connection, [f"public.{name}" for name in project.candle_tables])
    counts: dict[str, tuple[int, datetime | None]] = {}
    if existing:
        each = (f"select '{table}', count(*), max(timestamp) from {table}" for table in existing)
        counts = {table: (rows, newest) for table, rows, newest in _rows(connection, " union all ".join(each))}
    verdicts = {}
    if _existing(connection, ["ops.sync_health"]):
        for symbol, timeframe, *verdict in _rows(
            connection,
            "select symbol, timeframe, newest_bar, expected_bar, extract(epoch from lag)::float, status, reason"
            " from ops.sync_health",
        ):
            verdicts[symbol, timeframe] = verdict
    states = []
    for symbol in project.symbols:
        for timeframe in project.timeframes:
            rows, newest = counts.get(f"public.{project.table(symbol, timeframe)}", (None, None))
            if rows is None:
                verdict = [None, None, None, "missing", "there is no such table: tradehouse sync --test builds it"]
            else:
                unknown = [newest, None, None, "unknown", "not in ops.sync_health: tradehouse sync --test builds it"]
                verdict = verdicts.get((symbol, timeframe), unknown)
            states.append(TableState(symbol, timeframe, rows, *verdict))
    return states


def _symbols(connection: Connection, project: Project, as_of: datetime) -> list[SymbolState]:
    existing = _existing(connection, ["ops.sync_symbols", "ops.rejected_bars"])
    known = {}
    if "ops.sync_symbols" in existing:
        for symbol, *found in _rows(
            connection,
            "select symbol, status, source_newest, last_change_at, last_error, last_error_at from ops.sync_symbols",
        ):
            known[symbol] = found
    rejects: dict[str, int] | None = None
    if "ops.rejected_bars" in existing:
        rejects = dict(
            _rows(
                connection,
                "select symbol, count(*) from ops.rejected_bars where coalesce(bar_time, extracted_at) > %s group by 1",
                as_of - REJECTS_OF,
            )
        )
    states = []
    for symbol in project.symbols:
        status, newest, *rest = known.get(symbol, [None] * 5)
        states.append(SymbolState(symbol, status, newest, None if rejects is None else rejects.get(symbol, 0), *rest))
    return states


def _runs(connection: Connection) -> list[RunState]:
    if not _existing(connection, ["ops.sync_runs"]):
        return []
    return [
        RunState(*row)
        for row in _rows(
            connection,
            "select run_id, command, status, started_at, finished_at,"
            " extract(epoch from finished_at - started_at)::float,"
            " rows_read, rows_changed, rows_rejected, models_built, models_failed, error"
            " from ops.sync_runs where source = %s order by run_id desc limit %s",
            SOURCE,
            RUNS_SHOWN,
        )
    ]


def _problems(
    project: Project,
    oldest_end: datetime,
    tables: list[TableState],
    symbols: list[SymbolState],
    runs: list[RunState],
) -> list[str]:
    """What is stale or broken, each cause once, with the symbols and tables it concerns."""
    if not runs:
        return ["no run yet: tradehouse sync"]
    causes: dict[tuple[str, str], dict[str, list[str]]] = {}
    for table in tables:
        if not table.ok:
            concerned = causes.setdefault((table.status, table.reason or ""), {})
            concerned.setdefault(table.symbol, []).append(table.timeframe)
    broken = [symbol for symbol in symbols if symbol.status in {"missing", "failed"}]
    for symbol in broken:
        causes.setdefault(("failed", symbol.last_error or ""), {}).setdefault(symbol.symbol, [])
    found = [f"{_named(project, concerned)} {status}: {reason}" for (status, reason), concerned in causes.items()]
    ended = next((run for run in runs if run.status in {"done", "partial", "failed"}), None)
    if ended and (ended.status == "failed" or ended.models_failed or (ended.status == "partial" and not broken)):
        found.insert(0, f"run {ended.run_id} was the last to end, and {ended.status}: {ended.error}")
    last_end = ended.finished_at if ended else None
    if not causes and last_end is None:
        found.append("no run has ended yet")
    elif not causes and last_end and last_end < oldest_end:
        # nothing is due, perhaps because the markets are closed; still, nobody is at work
        found.append(f"no run has ended since {last_end.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC")
    return found


def _named(project: Project, concerned: dict[str, list[str]]) -> str:
    """The symbols, with their timeframes where it is some of them only."""
    every = list(project.timeframes)
    if concerned == dict.fromkeys(project.symbols, every):
        return "all tables"
    return ", ".join(
        symbol.upper() if timeframes in ([], every) else f"{symbol.upper()} {' '.join(timeframes)}"
        for symbol, timeframes in concerned.items()
    )
