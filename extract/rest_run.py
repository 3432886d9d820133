"""Recorded runs of a REST source: under its lock, with its models built when anything has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg2

from extract.dbt_runner import Dbt, TransformResult, project_fingerprint, selection
from extract.errors import WarehouseUnavailableError
from extract.records import Run, built_fingerprint, last_run_was_clean, recorded
from extract.settings import Project, Settings
from extract.warehouse import Warehouse, complaint, open_warehouse, require_alive

Progress = Callable[[str, int | None, int | None], None]  # (step, finished, total)


class RestSource:
    """What the runs of one REST source have in common, and what is worth keeping between them: dbt's parsed project.

    Args:
        settings: the settings.
        project: the lists.
        name: its key in `LOCK_KEYS`, which is also its tag in the dbt project.
        unattended: further runs will come, and dbt's project is kept for them while its files stay as they are.
    """

    def __init__(self, settings: Settings, project: Project, name: str, *, unattended: bool = False) -> None:
        self.settings = settings
        self.name = name
        self._project = project
        self._unattended = unattended
        self._dbt: Dbt | None = None
        self._parsed = ""  # digest of the project

    @contextmanager
    def recorded(self, command: str) -> Iterator[SourceRun]:
        """Hold the run lock and keep the record of a run.

        Args:
            command: what the run record and pg_stat_activity call it.

        Raises:
            LockHeldError: another run of this source is at work.
            WarehouseError: the warehouse cannot be used, or broke off inside the block.
        """
        warehouse = open_warehouse(self.settings)
        fingerprint = project_fingerprint(self.settings)
        dbt = self._dbt_for(warehouse, fingerprint)
        try:
            with warehouse.run_lock(command, self.name) as connection:
                warehouse.prepare(connection, self._project.symbols)
                built = built_fingerprint(connection, self.name)
                clean = last_run_was_clean(connection, self.name)
                with recorded(connection, warehouse, self.name, command) as run:
                    yield SourceRun(run, dbt, fingerprint, built, clean)
        except psycopg2.Error as error:
            raise WarehouseUnavailableError(f"the run broke off: {complaint(error, warehouse.uri)}") from None

    def _dbt_for(self, warehouse: Warehouse, fingerprint: str) -> Dbt:
        if self._dbt is None or fingerprint != self._parsed:
            self._dbt = Dbt(
                self.settings, warehouse, fingerprint, workspace=f"dbt-{self.name}", keep_project=self._unattended
            )
            self._parsed = fingerprint
        return self._dbt


@dataclass
class SourceRun:
    """A run at work.

    Attributes:
        run: its record, on the connection that holds the run lock.
        dbt: for the models.
        fingerprint: of the project as it is.
        built: fingerprint of the project that all models were last built of.
        clean: the run before this one left no model undone.
    """

    run: Run
    dbt: Dbt
    fingerprint: str
    built: str | None
    clean: bool

    def build(self, changed: bool, tests: bool, progress: Progress) -> TransformResult:
        """Bring the models up to date: all of them when that is in doubt, else the tables if anything has `changed`.

        Where the project has changed since all of it was built, tables are computed anew: what their rows are made of
        may be another rule now.

        Args:
            changed: whether this run has landed anything.
            tests: run every test of this source's models, too.
            progress: told of the nodes that have run.

        Raises:
            TransformError: dbt could not run at all.
        """
        source = self.run.source
        if tests or self.built != self.fingerprint or not self.clean:
            command = ["build", *selection(source)]
            if not tests:
                command += ["--exclude-resource-type", "test", "--exclude-resource-type", "unit_test"]
            if self.built not in (None, self.fingerprint):
                command.append("--full-refresh")
            total = self.dbt.count_models(source)
        elif changed:
            replayed = self.dbt.replay_all(self.run.connection)
            if replayed is not None:
                return TransformResult(built=len(replayed))
            tables = f"tag:{source},config.materialized:incremental"
            command, total = ["run", "--select", tables], self.dbt.count_models(source, "incremental")
        else:
            return TransformResult()
        step = "building and testing" if tests else "building tables"
        progress(step, 0, total)
        result = self.dbt.run(
            *command,
            progress=lambda _, finished: progress(step, finished, total),
            guard=lambda: require_alive(self.run.connection),
        )
        if command[0] == "build" and not result.models_failed:
            self.built = self.fingerprint
        return result

    def conclude(self, problems: Sequence[str], transform: TransformResult) -> float:
        """Close the record as `done`, or as `partial` with what went wrong; return the seconds the run took."""
        return self.run.conclude(
            problems,
            models_built=transform.built,
            models_failed=transform.models_failed,
            project_fingerprint=self.fingerprint if self.built == self.fingerprint else None,
        )
