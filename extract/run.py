"""One run of one source: lock it, record the run, read, land, refresh or build tables, close the record."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Generic

import psycopg2

from extract.dbt_runner import Dbt, DbtProcess, Progress, TransformResult
from extract.errors import WarehouseUnavailableError
from extract.project_files import project_fingerprint
from extract.records import Run, built_fingerprint, last_run_was_clean, recorded, vacuum
from extract.refresh import built_models, keep_models, missing_models, refresh
from extract.schema import prepare
from extract.settings import Project, Settings
from extract.source import Outcome, R, Source
from extract.warehouse import Connection, Warehouse, complaint, holding_run_lock, open_warehouse, warehouse_error

if TYPE_CHECKING:
    import duckdb

PATIENCE = 20.0
"""Seconds a command waits for a source that another program has locked."""


@dataclass(frozen=True)
class Built:
    """Whether the source's models in the warehouse match the project's files.

    Attributes:
        fingerprint: of the project's files now.
        before: of the files when all models were last built; None if they never were.
        missing: models whose table or view is gone from the warehouse.
        clean: whether the previous run brought every model up to date.
    """

    fingerprint: str
    before: str | None
    missing: tuple[str, ...]
    clean: bool

    @property
    def current(self) -> bool:
        """Whether all models exist and were built from the files as they are now."""
        return self.before == self.fingerprint and not self.missing


@dataclass(frozen=True)
class RunContext:
    """What a run works with while it holds the lock.

    Attributes:
        command: the name of the run in its record and in pg_stat_activity.
        connection: holds the run lock; in autocommit.
        deadline: when to stop waiting for a busy source, on the monotonic clock.
        stop: when set, reading ends after the current step.
        progress: called for each step.
        records: the run's record; empty in a dry run.
    """

    command: str
    settings: Settings
    project: Project
    warehouse: Warehouse
    connection: Connection
    dbt: Dbt
    built: Built
    deadline: float
    stop: threading.Event
    progress: Progress
    runner: Runner  # type: ignore[type-arg]
    records: list[Run] = field(default_factory=list)

    @property
    def record(self) -> Run:
        """The run's record."""
        return self.records[0]

    @property
    def duckdb(self) -> duckdb.DuckDBPyConnection:
        """A DuckDB session that can attach SQLite files; the runner keeps it for later runs."""
        return self.runner.duckdb


class Runner(Generic[R]):
    """Runs one source. Between runs it keeps the connection, with its query plans, and the DuckDB session."""

    def __init__(self, settings: Settings, project: Project, source: Source[R]) -> None:
        self.settings = settings
        self.project = project
        self.source = source
        self._warehouse: Warehouse | None = None
        self._connection: Connection | None = None
        self._duckdb: duckdb.DuckDBPyConnection | None = None
        self._beyond_dbt: set[str] = set()  # models that dbt could not build either: dbt is not tried again each tick

    def __enter__(self) -> Runner[R]:
        return self

    def __exit__(self, *_: object) -> None:
        self.disconnect()

    def disconnect(self) -> None:
        """Close the connections, after an error or at the end. The next run opens new ones."""
        self._close_duckdb()
        if self._connection is not None:
            self._connection.close()
        self._warehouse = self._connection = None

    @property
    def warehouse(self) -> Warehouse:
        """The warehouse; opened on first use.

        Raises:
            WarehouseError: it cannot be used.
        """
        self._warehouse = self._warehouse or open_warehouse(self.settings)
        return self._warehouse

    def run(
        self,
        command: str,
        *,
        tests: bool = False,
        patience: float = PATIENCE,
        due_again: float | None = None,
        stop: threading.Event | None = None,
        progress: Progress = lambda *_: None,
    ) -> Outcome[R]:
        """Land what is new in the source, bring its tables up to date, and record the run.

        The run refreshes the tables that the landed rows affect, or all tables of the source if the previous run did
        not bring every one up to date. If the project's files have changed or a table or view is gone, dbt builds
        instead. With `tests`, dbt builds every model of the source and runs every test.

        `command` names the run in its record and in pg_stat_activity. If another program has locked the source, the
        run waits up to `patience` seconds. `due_again` is the seconds until the next run, if known.

        Raises:
            LockHeldError: another run of the source is at work.
            TradehouseError: it could not run; the run record says the same.
        """
        with self.locked(command, patience=patience, stop=stop, progress=progress) as run, self.recorded(run):
            outcome = self._run(run, tests)
            if run.record.tidies or not run.built.current:
                models = [*built_models(run.connection, self.source.name), *outcome.transform.models]
                relations = [each.relation for each in models]
                vacuum(run.connection, relations)
                self._close_duckdb()  # a session that is kept grows by 30 kB a tick
            outcome.seconds = self.conclude(run, outcome.problems, outcome.transform, tests, due_again)
        return outcome

    @contextmanager
    def locked(
        self,
        command: str,
        *,
        patience: float = PATIENCE,
        stop: threading.Event | None = None,
        progress: Progress = lambda *_: None,
    ) -> Iterator[RunContext]:
        """Hold the run lock and give what a run needs; nothing is recorded yet.

        Raises:
            LockHeldError: another run of the source is at work.
            WarehouseError: the warehouse cannot be used, or fails inside the block.
        """
        deadline = time.monotonic() + patience
        warehouse, connection = self.connect(command)
        name = self.source.name
        try:
            with holding_run_lock(connection, name):
                prepare(warehouse, connection, self.project)
                yield RunContext(
                    command=command,
                    settings=self.settings,
                    project=self.project,
                    warehouse=warehouse,
                    connection=connection,
                    dbt=Dbt(self.settings, warehouse, name),
                    built=Built(
                        fingerprint=project_fingerprint(),
                        before=built_fingerprint(connection, name),
                        missing=tuple(missing_models(connection, name)),
                        clean=last_run_was_clean(connection, name),
                    ),
                    deadline=deadline,
                    stop=stop or threading.Event(),
                    progress=progress,
                    runner=self,
                )
        except Exception as error:
            if isinstance(error, psycopg2.Error) or type(error).__module__.startswith(("_duckdb", "duckdb")):
                raise warehouse_error(error, warehouse.uri) from None
            raise

    @contextmanager
    def recorded(self, run: RunContext) -> Iterator[Run]:
        """Keep the record of a run; an exception closes it as failed."""
        with recorded(run.connection, run.warehouse, self.source.name, run.command) as record:
            run.records.append(record)
            yield record

    def _run(self, run: RunContext, tests: bool) -> Outcome[R]:
        # if dbt has to build, start it now: it loads and parses the project while the source is read
        everything = tests or run.built.before != run.built.fingerprint
        early = self._start_build(run, tests) if everything or run.built.missing else None
        try:
            run.progress("reading", None, None)
            outcome = Outcome(run.record.run_id, self.source.read(run))
            if not everything:
                outcome.transform = self.refresh(run, self.source.stale_models(outcome.reading))
            if early is not None:
                outcome.transform.add(early.wait("building and testing" if tests else "building", run.progress))
        finally:
            if early is not None:
                early.end()
        self.source.after(run, outcome)
        return outcome

    def _start_build(self, run: RunContext, tests: bool) -> DbtProcess:
        """Start dbt on the models that are missing, or on all of them if the project's files have changed.

        After a change of files every table is computed again, because a rule may have changed. Only rows that differ
        are rewritten.
        """
        built = run.built
        selection = ["--select", f"tag:{self.source.name}"]
        if built.before == built.fingerprint and built.missing and not tests:
            selection = ["--select", *built.missing]
        arguments = ["build", *selection]
        if not tests:
            arguments += ["--exclude-resource-type", "test", "--exclude-resource-type", "unit_test"]
        if built.before not in (None, built.fingerprint):
            arguments.append("--full-refresh")
        return run.dbt.start(*arguments)

    def build(self, run: RunContext) -> TransformResult:
        """Build all models of the source, without tests."""
        return self._start_build(run, tests=False).wait("building", run.progress)

    def refresh(self, run: RunContext, models: Sequence[str] | None) -> TransformResult:
        """Refresh tables: `models`, or all of the source if that is None or the previous run left some out of date.

        Missing tables are left for dbt to build. dbt also tries each failed table once: the table may not fit its
        model any more, and dbt repairs that or says what is wrong.
        """
        if models is None or not run.built.clean:
            models = [each.model for each in built_models(run.connection, self.source.name) if each.is_incremental]
        models = [model for model in models if model not in run.built.missing]
        run.progress("refreshing tables", None, len(models) or None)
        result = refresh(run.connection, models)
        self._beyond_dbt -= set(result.built)
        new = result.failed.keys() - self._beyond_dbt
        if new:
            mended = run.dbt.run("run", "--select", *sorted(new), progress=run.progress)
            for model in new:
                del result.failed[model]
                result.models_failed -= 1
            result.add(mended)
            self._beyond_dbt |= mended.failed.keys()
        return result

    def conclude(
        self,
        run: RunContext,
        problems: list[str],
        transform: TransformResult,
        complete: bool,
        due_again: float | None = None,
    ) -> float:
        """Close the run's record as `done`, or `partial` with its problems; return the seconds the run took.

        `complete` says that every model of the source was built on request; `due_again` is the seconds until the next
        run, if known.
        """
        built_all = (complete or not run.built.current) and not transform.models_failed and not transform.skipped
        if built_all:
            keep_models(run.connection, self.source.name, transform.models)
        run.record.announce(transform.built)
        return run.record.conclude(
            problems,
            models_built=len(transform.built),
            models_failed=transform.models_failed,
            project_fingerprint=run.built.fingerprint if built_all else None,
            due_again=due_again,
        )

    def start_tests(self) -> DbtProcess:
        """Start a build with every test of the source; runs go on meanwhile.

        It needs no run lock: an increment holds the lock of its own table, and a view is replaced in place.
        """
        name = self.source.name
        process = Dbt(self.settings, self.warehouse, name, f"dbt-{name}-tests").start(
            "build", "--select", f"tag:{name}"
        )
        process.go()
        return process

    def record_tests(self, started_at: datetime, result: TransformResult) -> None:
        """Record a build that `start_tests` started. The next run refreshes all tables if a model failed there."""
        warehouse, connection = self.connect("build")
        try:
            Run.record_past(
                connection,
                self.source.name,
                "build",
                started_at,
                result.problems,
                models_built=len(result.built),
                models_failed=result.models_failed,
            )
        except psycopg2.Error as error:
            raise WarehouseUnavailableError(
                f"the tests cannot be recorded: {complaint(error, warehouse.uri)}"
            ) from None

    @property
    def duckdb(self) -> duckdb.DuckDBPyConnection:
        """The DuckDB session; opened on first use."""
        if self._duckdb is None:
            from extract.duckdb_session import open_session

            self._duckdb = open_session("sqlite_scanner")
        return self._duckdb

    def _close_duckdb(self) -> None:
        if self._duckdb is not None:
            self._duckdb.close()
        self._duckdb = None

    def connect(self, command: str) -> tuple[Warehouse, Connection]:
        """The kept connection, opened under the name of the command if there is none. Errors: as `warehouse`."""
        warehouse = self.warehouse
        if self._connection is None:
            self._connection = warehouse.connect(command, autocommit=True)
            with self._connection.cursor() as cursor:
                # Commits do not wait for the disk here. A server crash loses the newest commits first, so the record
                # that the run is done is lost before its rows, and the next run then refreshes all tables.
                cursor.execute("set synchronous_commit = off; set jit = off")
        return warehouse, self._connection
