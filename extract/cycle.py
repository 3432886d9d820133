"""The cycle: extract, transform, record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import duckdb
import psycopg2
from tenacity import Retrying, retry_if_exception_type, stop_before_delay, wait_exponential_jitter

from extract import mt5_bars
from extract.duck import open_session
from extract.landing import Run, attach_warehouse, last_run_was_clean
from extract.mt5_file import Extraction, SourceBusyError
from extract.settings import Project, Settings
from extract.transform import Dbt, TransformResult, models_in_project, project_fingerprint
from extract.warehouse import (
    Connection,
    Warehouse,
    WarehouseUnavailableError,
    complaint,
    holding_run_lock,
    open_warehouse,
    require_alive,
)

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
        return self.transform.ok and self.extraction.ok


class Pipeline:
    """Cycles, and what is worth keeping between them: connections, DuckDB, dbt's parsed project and increments."""

    def __init__(self, settings: Settings, project: Project, *, unattended: bool = False) -> None:
        """With `unattended`, dbt's project is kept while its files stay as they are, and tested when they change."""
        self._settings = settings
        self._project = project
        self._unattended = unattended
        self._warehouse: Warehouse | None = None
        self._connection: Connection | None = None
        self._session: duckdb.DuckDBPyConnection | None = None
        self._dbt: Dbt | None = None
        self._parsed = self._tested = ""  # digests of the project

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.disconnect()

    def disconnect(self) -> None:
        """Let go of the warehouse; the next run looks for it anew. For after an error, and for the end."""
        if self._session is not None:
            self._session.close()
        if self._connection is not None:
            self._connection.close()
        self._warehouse = self._connection = self._session = None

    def run(
        self, command: str, *, tests: bool = False, patience: float = 20.0, progress: Progress = lambda *_: None
    ) -> CycleResult:
        """One cycle: land what is new in the SQLite file, bring the candle tables up to date, record the run.

        Built are the tables whose grid has a changed row; all tables, when the run before left some undone; views
        too, when the project has changed since all of it was last built; and with `tests` all of it and every test.

        Args:
            command: what the run record and pg_stat_activity call it.
            tests: run every dbt test.
            patience: seconds to wait for a SQLite file that another program has locked. When they are over, the
                run does what it can without the file, and its result says so.
            progress: told of each step.

        Raises:
            LockHeldError: another run is at work.
            SourceError, WarehouseError, TransformError: it could not run; the run record says the same.
        """
        self._settings.require_sqlite_path()
        if self._warehouse is None or self._connection is None:
            self._warehouse = open_warehouse(self._settings)
            self._connection = self._warehouse.connect(command, autocommit=True)
            with self._connection.cursor() as cursor:
                # Commits need not wait for the disk here: what a crash of the server takes, it takes from the end,
                # the record that the run is done first, and a run without one has all its tables built again.
                cursor.execute("set synchronous_commit = off")
        warehouse, connection = self._warehouse, self._connection
        try:
            with holding_run_lock(connection):
                warehouse.prepare(connection, self._project.symbols)
                return self._cycle(warehouse, connection, command, tests, patience, progress)
        except psycopg2.Error as error:
            raise _broken_off(error, warehouse) from None

    def _cycle(
        self,
        warehouse: Warehouse,
        connection: Connection,
        command: str,
        tests: bool,
        patience: float,
        progress: Progress,
    ) -> CycleResult:
        fingerprint = project_fingerprint(self._settings)
        if self._dbt is None or fingerprint != self._parsed:
            self._dbt = Dbt(self._settings, warehouse, keep_project=self._unattended)
            self._parsed = fingerprint
        dbt = self._dbt
        tests = tests or (self._unattended and fingerprint != self._tested)
        full = tests or fingerprint != _built_fingerprint(connection)
        clean = last_run_was_clean(connection, mt5_bars.SOURCE)
        run = Run.start(connection, mt5_bars.SOURCE, command)
        with ThreadPoolExecutor(max_workers=1) as aside:
            try:
                # a big build is certain to come: parse the project while DuckDB reads and lands
                parsed = aside.submit(dbt.parse) if full or not clean else None
                progress("reading the SQLite file", None, None)
                result = CycleResult(self._extract_and_land(warehouse, run, patience))
                if parsed:
                    parsed.result()
                tables = _changed_tables(self._project, result.extraction) if clean else self._project.candle_tables
                if full:
                    result.transform = _build(dbt, connection, None, tests=tests, progress=progress)
                elif tables:
                    result.transform = _increment(dbt, connection, tables, progress=progress)
            except (psycopg2.Error, duckdb.Error) as error:
                broken_off = _broken_off(error, warehouse)
                _record_failure(run, broken_off)
                raise broken_off from None
            except BaseException as error:
                _record_failure(run, error)
                raise
        _record(run, result, fingerprint if full and not result.transform.models_failed else None)
        result.seconds = _duration(run)
        if tests:
            self._tested = fingerprint
        return result

    def _extract_and_land(self, warehouse: Warehouse, run: Run, patience: float) -> Extraction:
        path = self._settings.require_sqlite_path()
        newest = mt5_bars.watermarks(run.connection, self._project.symbols)
        lookback = self._settings.lookback_minutes * 60
        since = {symbol: None if mark is None else mark - lookback for symbol, mark in newest.items()}
        session = self._session or open_session()
        retrying = Retrying(
            retry=retry_if_exception_type(SourceBusyError),
            wait=wait_exponential_jitter(initial=0.1, max=2.0),
            stop=stop_before_delay(patience),
            reraise=True,
        )
        try:
            extraction: Extraction = retrying(mt5_bars.extract, session, path, since)
        except SourceBusyError as busy:
            return Extraction({}, error=str(busy))
        if self._session is None:
            attach_warehouse(session, warehouse)
            self._session = session
        mt5_bars.land(session, run, extraction, since, self._project.timeframes.values())
        return extraction


def _broken_off(error: Exception, warehouse: Warehouse) -> WarehouseUnavailableError:
    return WarehouseUnavailableError(f"the run broke off: {complaint(error, warehouse.uri)}")


def _changed_tables(project: Project, extraction: Extraction) -> tuple[str, ...]:
    """The candle tables that a changed row belongs to."""
    return tuple(
        f"{symbol}_{name.lower()}"
        for symbol in project.symbols
        for name, minutes in project.timeframes.items()
        if (symbol, minutes) in extraction.changed_grids
    )


def _increment(dbt: Dbt, connection: Connection, tables: Sequence[str], *, progress: Progress) -> TransformResult:
    """Bring the tables up to date: by replay where dbt has run their increment before, by dbt itself elsewhere."""
    replayed = dbt.replay(connection, tables)
    left = [table for table in tables if table not in set(replayed)]
    result = _build(dbt, connection, left, tests=False, progress=progress) if left else TransformResult()
    result.built += len(replayed)
    return result


def _build(
    dbt: Dbt, connection: Connection, tables: Sequence[str] | None, *, tests: bool, progress: Progress
) -> TransformResult:
    """Run dbt on the tables, or on everything where they are None."""
    step = "building and testing" if tests else "building tables"
    total = models_in_project() if tables is None else len(tables)
    progress(step, 0, total)
    return dbt.run(
        "build" if tests else "run",
        *(() if tables is None else ("--select", *tables)),
        progress=lambda _, finished: progress(step, finished, total),
        guard=lambda: require_alive(connection),
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
    problems = [result.extraction.error] if result.extraction.error else []
    problems += [
        f"{outcome.symbol}: {outcome.error}" for outcome in result.extraction.outcomes.values() if not outcome.ok
    ]
    problems += [f"{name}: {message}" for name, message in result.transform.failed.items()]
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
