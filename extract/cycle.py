"""The cycle: extract, transform, record."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import psycopg2
from tenacity import Retrying, retry_if_exception_type, stop_before_delay, wait_random_exponential

from extract.dbt_runner import Dbt, TransformResult, project_fingerprint, selection
from extract.duckdb_landing import attach_warehouse
from extract.duckdb_session import open_session
from extract.errors import SourceBusyError, WarehouseUnavailableError
from extract.records import RECORDS, Run, built_fingerprint, last_run_was_clean, recorded, vacuum
from extract.settings import Project, Settings
from extract.sources.mt5 import bars
from extract.sources.mt5.file import Extraction
from extract.sources.mt5.symbols import prune
from extract.warehouse import Connection, Warehouse, complaint, holding_run_lock, open_warehouse, require_alive

Progress = Callable[[str, int | None, int | None], None]  # (step, finished, total)
PATIENCE = 20.0
"""Seconds a command waits for a SQLite file that another program has locked."""


@dataclass
class CycleResult:
    """What one cycle did."""

    extraction: Extraction
    transform: TransformResult = field(default_factory=TransformResult)
    seconds: float = 0.0
    tidied: bool = False  # it was this run's turn to clean up

    @property
    def ok(self) -> bool:
        """Whether every symbol and every model is as it should be."""
        return not self.problems

    @property
    def problems(self) -> list[str]:
        """What could not be read or built, each in one line."""
        return self.extraction.problems + self.transform.problems


@dataclass(frozen=True)
class Tools:
    """What a run works with while it holds the lock."""

    settings: Settings
    project: Project
    source: Path
    warehouse: Warehouse
    connection: Connection  # in autocommit; holds the run lock
    session: duckdb.DuckDBPyConnection  # has the warehouse attached
    dbt: Dbt
    fingerprint: str  # of the project as `dbt` has it
    built: bool  # all of the project has been built as it is now
    clean: bool  # the run before this one left no table undone

    def extract(
        self, since: Mapping[str, int | None], until: int | None = None, *, patience: float = PATIENCE
    ) -> Extraction:
        """Read bars, as `bars.extract`; a file that stays locked is no error, but an extraction with one."""
        retrying = Retrying(
            retry=retry_if_exception_type(SourceBusyError),
            wait=wait_random_exponential(multiplier=0.1, max=2.0),
            stop=stop_before_delay(patience),
            reraise=True,
        )
        try:
            extraction: Extraction = retrying(bars.extract, self.session, self.source, since, until)
        except SourceBusyError as busy:
            return Extraction({}, error=str(busy))
        return extraction

    def increment(self, tables: Sequence[str], progress: Progress) -> TransformResult:
        """Bring tables up to date: by replay where dbt has run their increment before, by dbt itself elsewhere."""
        progress("building tables", 0, len(tables))
        replayed = self.dbt.replay(self.connection, tables)
        result = TransformResult(built=len(replayed))
        left = [table for table in tables if table not in set(replayed)]
        if left:
            result.add(self.transform("building tables", len(left), progress, "run", "--select", *left))
        return result

    def build(self, progress: Progress, *, tests: bool = False) -> TransformResult:
        """Build all models of this source, with every test of theirs or none."""
        step = "building and testing" if tests else "building tables"
        total = self.dbt.count_models(bars.SOURCE)
        return self.transform(step, total, progress, "build" if tests else "run", *selection(bars.SOURCE))

    def transform(self, step: str, total: int, progress: Progress, *command: str) -> TransformResult:
        """Run a dbt command for as long as the lock is held; `total` is how many nodes it will run."""
        progress(step, 0, total)
        try:
            return self.dbt.run(
                *command,
                progress=lambda _, finished: progress(step, finished, total),
                guard=lambda: require_alive(self.connection),
            )
        finally:
            require_alive(self.connection)  # a lost lock is the better explanation of whatever dbt says

    def tables_on(self, grids: Collection[tuple[str, int]]) -> list[str]:
        """The candle tables of grids, which are symbols and lengths in minutes."""
        return [
            self.project.table(symbol, name)
            for symbol in self.project.symbols
            for name, minutes in self.project.timeframes.items()
            if (symbol, minutes) in grids
        ]

    def prune(self, symbols: Iterable[str], failed: Iterable[str]) -> None:
        """Prune the staging tables of symbols, but for those with a failed table: it may not have all the rows."""
        for symbol in symbols:
            if not set(self.project.tables_of(symbol)) & set(failed):
                prune(self.connection, bars.staging_table(symbol), self.settings.staging_rows_per_symbol)

    def vacuum(self) -> None:
        """Vacuum all that runs write to."""
        staging = [bars.staging_table(symbol).relation for symbol in self.project.symbols]
        vacuum(self.connection, [*RECORDS, *staging, *(f"public.{table}" for table in self.project.candle_tables)])


class Pipeline:
    """Cycles, and what is worth keeping between them: connections, DuckDB, dbt's parsed project and increments."""

    def __init__(self, settings: Settings, project: Project, *, unattended: bool = False) -> None:
        """With `unattended`, dbt's project is kept while its files stay as they are, and tested when they change."""
        self.settings = settings
        self.project = project
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
        self._close_session()
        if self._connection is not None:
            self._connection.close()
        self._warehouse = self._connection = None

    def _close_session(self) -> None:
        """End the DuckDB session; the next run opens another. One that is kept grows by 30 kB a tick."""
        if self._session is not None:
            self._session.close()
        self._session = None

    def run(
        self, command: str, *, tests: bool = False, patience: float = PATIENCE, progress: Progress = lambda *_: None
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
        with self.locked(command) as tools:
            tests = tests or (self._unattended and tools.fingerprint != self._tested)
            result = _cycle(tools, command, tests, patience, progress)
            if tests:
                self._tested = tools.fingerprint
        if result.tidied:
            self._close_session()
        return result

    @contextmanager
    def locked(self, command: str) -> Iterator[Tools]:
        """Hold the run lock, with everything at hand that a run needs.

        Raises:
            LockHeldError: another run is at work.
            WarehouseError: the warehouse cannot be used, or broke off inside the block.
        """
        source = self.settings.require_sqlite_path()
        warehouse, connection, session = self._connect(command)
        fingerprint = project_fingerprint(self.settings)
        if self._dbt is None or fingerprint != self._parsed:
            self._dbt = Dbt(self.settings, warehouse, fingerprint, keep_project=self._unattended)
            self._parsed = fingerprint
        try:
            with holding_run_lock(connection, bars.SOURCE):
                warehouse.prepare(connection, self.project.symbols)
                yield Tools(
                    settings=self.settings,
                    project=self.project,
                    source=source,
                    warehouse=warehouse,
                    connection=connection,
                    session=session,
                    dbt=self._dbt,
                    fingerprint=fingerprint,
                    built=fingerprint == built_fingerprint(connection, bars.SOURCE),
                    clean=last_run_was_clean(connection, bars.SOURCE),
                )
        except (psycopg2.Error, duckdb.Error) as error:
            raise WarehouseUnavailableError(f"the run broke off: {complaint(error, warehouse.uri)}") from None

    def _connect(self, command: str) -> tuple[Warehouse, Connection, duckdb.DuckDBPyConnection]:
        if self._warehouse is None or self._connection is None:
            self._warehouse = open_warehouse(self.settings)
            self._connection = self._warehouse.connect(command, autocommit=True)
            with self._connection.cursor() as cursor:
                # Commits need not wait for the disk here: what a crash of the server takes, it takes from the end,
                # the record that the run is done first, and a run without one has all its tables built again.
                cursor.execute("set synchronous_commit = off")
        if self._session is None:
            self._session = open_session()
            attach_warehouse(self._session, self._warehouse)
        return self._warehouse, self._connection, self._session


def _cycle(tools: Tools, command: str, tests: bool, patience: float, progress: Progress) -> CycleResult:
    full = tests or not tools.built
    with recorded(tools.connection, tools.warehouse, bars.SOURCE, command) as run:
        with ThreadPoolExecutor(max_workers=1) as aside:
            # a big build is certain to come: parse the project while DuckDB reads and lands
            parsed = aside.submit(tools.dbt.parse) if full or not tools.clean else None
            progress("reading the SQLite file", None, None)
            result = CycleResult(_extract_and_land(tools, run, patience))
            if parsed:
                parsed.result()
        if full:
            result.transform = tools.build(progress, tests=tests)
        elif tools.clean:
            result.transform = tools.increment(tools.tables_on(result.extraction.changed_grids), progress)
        else:
            result.transform = tools.increment(tools.project.candle_tables, progress)
        grown = [symbol for symbol, outcome in result.extraction.outcomes.items() if outcome.rows_new]
        tools.prune(tools.project.symbols if full else grown, result.transform.failed)
        if run.tidies:
            tools.vacuum()
            result.tidied = True
        result.seconds = run.conclude(
            result.problems,
            models_built=result.transform.built,
            models_failed=result.transform.models_failed,
            project_fingerprint=tools.fingerprint if full and not result.transform.models_failed else None,
        )
    return result


def _extract_and_land(tools: Tools, run: Run, patience: float) -> Extraction:
    newest = bars.watermarks(run.connection, tools.project.symbols)
    lookback = tools.settings.lookback_minutes * 60
    since = {symbol: None if mark is None else mark - lookback for symbol, mark in newest.items()}
    extraction = tools.extract(since, patience=patience)
    if extraction.error is None:
        bars.compare(tools.session, run.connection, extraction, since, tools.project.timeframes.values())
        bars.land(tools.session, run, extraction, since)
        bars.record(run, extraction)
    return extraction
