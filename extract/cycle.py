"""The cycle: extract, transform, record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import duckdb
import psycopg2

from extract import mt5_bars
from extract.duck import open_session
from extract.landing import Run, attach_warehouse, last_run_was_clean
from extract.mt5_file import Extraction
from extract.settings import Project, Settings
from extract.transform import Dbt, TransformResult, models_in_project, project_fingerprint
from extract.warehouse import Connection, Warehouse, WarehouseUnavailableError, complaint

Progress = Callable[[str, int | None, int | None], None]  # (step, finished, total)


@dataclass
class CycleResult:
    """What one cycle did."""

    extraction: Extraction
    transform: TransformResult = field(default_factory=TransformResult)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether every symbol and every model is as it should be."""
        return self.transform.ok and all(outcome.ok for outcome in self.extraction.outcomes.values())


def run_cycle(
    settings: Settings,
    project: Project,
    warehouse: Warehouse,
    *,
    command: str,
    tests: bool = False,
    progress: Progress = lambda *_: None,
    dbt: Dbt | None = None,
) -> CycleResult:
    """One cycle: land what is new in the SQLite file, bring the candle tables up to date, record the run.

    dbt runs the tables whose grid has a changed row; all tables, when the run before left some undone; views
    too, when the project has changed since all of it was last built; and with `tests` all of it and every test.
    A service hands in its own `dbt`, which keeps the parsed project.

    Raises:
        LockHeldError: another run is at work.
        SourceError, WarehouseError, TransformError: it could not run; the run record says the same.
    """
    settings.require_sqlite_path()
    with warehouse.run_lock(command) as connection, ThreadPoolExecutor(max_workers=1) as aside:
        warehouse.prepare(connection, project.symbols)
        fingerprint = project_fingerprint(settings)
        full = tests or fingerprint != _built_fingerprint(connection)
        clean = last_run_was_clean(connection, mt5_bars.SOURCE)
        run = Run.start(connection, mt5_bars.SOURCE, command)
        try:
            dbt = dbt or Dbt(settings, warehouse)
            # a big build is certain to come: parse the project while DuckDB reads and lands
            parsed = aside.submit(dbt.parse) if full or not clean else None
            progress("reading the SQLite file", None, None)
            result = CycleResult(_extract_and_land(settings, project, warehouse, run))
            if parsed:
                parsed.result()
            tables = _changed_tables(project, result.extraction) if clean else project.candle_tables
            if full or tables:
                result.transform = _transform(dbt, None if full else tables, tests=tests, progress=progress)
        except (psycopg2.Error, duckdb.Error) as error:
            broken = WarehouseUnavailableError(f"the run broke off: {complaint(error, warehouse.uri)}")
            _record_failure(run, broken)
            raise broken from None
        except BaseException as error:
            _record_failure(run, error)
            raise
        _record(run, result, fingerprint if full and not result.transform.models_failed else None)
        result.seconds = _duration(run)
    return result


def _changed_tables(project: Project, extraction: Extraction) -> tuple[str, ...]:
    """The candle tables that a changed row belongs to."""
    return tuple(
        f"{symbol}_{name.lower()}"
        for symbol in project.symbols
        for name, minutes in project.timeframes.items()
        if (symbol, minutes) in extraction.changed_grids
    )


def _extract_and_land(settings: Settings, project: Project, warehouse: Warehouse, run: Run) -> Extraction:
    path = settings.require_sqlite_path()
    newest = mt5_bars.watermarks(run.connection, project.symbols)
    lookback = settings.lookback_minutes * 60
    since = {symbol: None if mark is None else mark - lookback for symbol, mark in newest.items()}
    with open_session() as session:
        extraction = mt5_bars.extract(session, path, since)
        attach_warehouse(session, warehouse)
        mt5_bars.land(session, run, extraction, since, project.timeframes.values())
    return extraction


def _transform(dbt: Dbt, tables: Sequence[str] | None, *, tests: bool, progress: Progress) -> TransformResult:
    """Run dbt on the tables, or on everything where they are None."""
    step = "building and testing" if tests else "building tables"
    total = models_in_project() if tables is None else len(tables)
    progress(step, 0, total)
    return dbt.run(
        "build" if tests else "run",
        *(() if tables is None else ("--select", *tables)),
        progress=lambda _, finished: progress(step, finished, total),
    )


def _built_fingerprint(connection: Connection) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(
            "select project_fingerprint from ops.sync_runs"
            " where project_fingerprint is not null order by run_id desc limit 1"
        )
        row = cursor.fetchone()
    return row[0] if row else None


def _record(run: Run, result: CycleResult, fingerprint: str | None) -> None:
    problems = [
        f"{outcome.symbol}: {outcome.error}" for outcome in result.extraction.outcomes.values() if not outcome.ok
    ] + [f"{name}: {message}" for name, message in result.transform.failed.items()]
    run.finish(
        "done" if result.ok else "partial",
        models_built=result.transform.built,
        models_failed=result.transform.models_failed,
        project_fingerprint=fingerprint,
        error="; ".join(problems) or None,
    )


def _record_failure(run: Run, error: BaseException) -> None:
    """Record why the run ended early, where the connection still allows it."""
    with suppress(psycopg2.Error):
        run.finish("failed", error=str(error) or type(error).__name__)


def _duration(run: Run) -> float:
    with run.connection.cursor() as cursor:
        cursor.execute(
            "select extract(epoch from finished_at - started_at) from ops.sync_runs where run_id = %s",
            (run.run_id,),
        )
        row = cursor.fetchone()
    return float(row[0]) if row else 0.0
