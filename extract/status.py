"""What the warehouse holds and how the last run went."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from extract.settings import Project
from extract.warehouse import Connection


@dataclass(frozen=True)
class TableState:
    """One candle table; `rows` is None where the table does not exist yet."""

    symbol: str
    timeframe: str
    rows: int | None
    newest: datetime | None


@dataclass(frozen=True)
class LastRun:
    """The newest run record."""

    run_id: int
    command: str
    status: str
    started_at: datetime
    seconds: float | None
    rows_read: int
    rows_changed: int
    rows_rejected: int
    models_built: int
    models_failed: int
    error: str | None


@dataclass(frozen=True)
class SymbolState:
    """How the source's table for a symbol was found by the last run that looked."""

    symbol: str
    status: str
    source_newest: datetime | None
    last_error: str | None
    last_error_at: datetime | None


@dataclass(frozen=True)
class Status:
    """Everything `tradehouse status` shows."""

    tables: list[TableState]
    symbols: list[SymbolState]
    last_run: LastRun | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON; times are datetime objects."""
        return asdict(self)


def read_status(connection: Connection, project: Project) -> Status:
    """Count and date every candle table, and fetch the run records. Reads only."""
    if not _exists(connection, "ops.sync_runs"):
        return Status([TableState(s, t, None, None) for s in project.symbols for t in project.timeframes], [], None)
    return Status(_tables(connection, project), _symbols(connection), _last_run(connection))


def _exists(connection: Connection, relation: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("select to_regclass(%s) is not null", (relation,))
        row = cursor.fetchone()
    return bool(row and row[0])


def _tables(connection: Connection, project: Project) -> list[TableState]:
    with connection.cursor() as cursor:
        cursor.execute(
            "select name from unnest(%s) as name where to_regclass('public.' || name) is not null",
            (list(project.candle_tables),),
        )
        present = [row[0] for row in cursor.fetchall()]
        counts: dict[str, tuple[int, datetime | None]] = {}
        if present:
            cursor.execute(
                " union all ".join(f"select '{name}', count(*), max(timestamp) from public.{name}" for name in present)
            )
            counts = {name: (rows, newest) for name, rows, newest in cursor.fetchall()}
    return [
        TableState(symbol, timeframe, *counts.get(f"{symbol}_{timeframe.lower()}", (None, None)))
        for symbol in project.symbols
        for timeframe in project.timeframes
    ]


def _symbols(connection: Connection) -> list[SymbolState]:
    with connection.cursor() as cursor:
        cursor.execute(
            "select symbol, status, source_newest, last_error, last_error_at from ops.sync_symbols order by symbol"
        )
        return [SymbolState(*row) for row in cursor.fetchall()]


def _last_run(connection: Connection) -> LastRun | None:
    with connection.cursor() as cursor:
        cursor.execute(
            "select run_id, command, status, started_at, extract(epoch from finished_at - started_at)::float,"
            " rows_read, rows_changed, rows_rejected, models_built, models_failed, error"
            " from ops.sync_runs order by run_id desc limit 1"
        )
        row = cursor.fetchone()
    return LastRun(*row) if row else None
