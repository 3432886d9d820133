"""dbt, run in this process: the T of the cycle."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg2

from extract.errors import TransformError
from extract.settings import DBT_PROJECT, ROOT, Settings
from extract.warehouse import LOCK_KEYS, Connection, Warehouse

# Files whose change asks for a full build; the rest of the tree has no say in what dbt makes.
PROJECT_FILES = (
    "dbt_project/dbt_project.yml",
    "dbt_project/models/**/*",
    "dbt_project/seeds/**/*",
    "macros/**/*",
)


# First words of what the incremental materialization leaves in target/run when it has written a whole increment.
INCREMENT = "-- increment of "


# A statement that writes nothing, after the comment dbt puts before each.
READS = re.compile(r"\s*(/\*.*?\*/\s*)?(begin|commit|rollback|select|show)\b", re.DOTALL | re.IGNORECASE)


CANDLES = "mt5"
"""The source whose models have no tag; those of any other source are tagged with its name."""


@dataclass
class TransformResult:
    """What dbt did, by node."""

    built: int = 0
    tests_passed: int = 0
    tested: bool = False
    models_failed: int = 0
    rows_failed: dict[str, int] = field(default_factory=dict)  # test -> rows it returned
    failed: dict[str, str] = field(default_factory=dict)  # model or test -> message
    warned: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every model was built and no test failed."""
        return not self.failed

    def add(self, other: TransformResult) -> None:
        """Count in what a further dbt command did."""
        self.built += other.built
        self.tests_passed += other.tests_passed
        self.tested = self.tested or other.tested
        self.models_failed += other.models_failed
        self.rows_failed |= other.rows_failed
        self.failed |= other.failed
        self.warned |= other.warned

    @property
    def problems(self) -> list[str]:
        """What failed, each in one line."""
        return [f"{name}: {message}" for name, message in self.failed.items()]


Progress = Callable[[str, int], None]  # (node name, nodes finished so far)
Guard = Callable[[], None]


def selection(source: str) -> list[str]:
    """The arguments by which dbt picks a source's models.

    Two sources run at the same time, so that no model may belong to both.
    """
    if source != CANDLES:
        return ["--select", f"tag:{source}"]
    return ["--exclude", *(f"tag:{other}" for other in LOCK_KEYS if other != source)]


def project_fingerprint(settings: Settings) -> str:
    """A digest of everything the tables are made of but their data: equal digests, equal tables."""
    digest = hashlib.sha256(str(settings.max_rows_per_table).encode())
    for pattern in PROJECT_FILES:
        for file in sorted(path for path in ROOT.glob(pattern) if path.is_file()):
            digest.update(str(file).removeprefix(str(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def prepare_environment(settings: Settings, warehouse: Warehouse, workspace: str = "dbt") -> dict[str, str]:
    """The variables with which any dbt command finds the project, the profile and the warehouse.

    `workspace` is the directory of its working files. Two processes at once need one each: dbt writes what it has
    parsed over what is there.

    Raises:
        TransformError: the profile cannot be written.
    """
    profiles = settings.home / workspace
    try:
        profiles.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "profiles.yml.example", profiles / "profiles.yml")
    except OSError as error:
        raise TransformError(f"TRADEHOUSE_HOME: {profiles} cannot be written: {error.strerror}") from None
    return {
        **warehouse.libpq_environment(),
        "DBT_PROJECT_DIR": str(DBT_PROJECT),
        "DBT_PROFILES_DIR": str(profiles),
        "DBT_TARGET_PATH": str(profiles / "target"),
        "DBT_LOG_PATH": str(profiles / "logs"),
        "DBT_THREADS": str(settings.dbt_threads),
        "MAX_ROWS_PER_TABLE": str(settings.max_rows_per_table),
    }


class Dbt:
    """dbt on the project and the warehouse.

    A parsed project is kept for the runs that follow; with `keep_project` the first run parses it. So are the
    statements of each increment dbt has run, for `replay`, and those in a file of the workspace, too. Both are as of
    that moment: make a new object when a file of the project has changed.

    Args:
        settings: the settings.
        warehouse: where to.
        fingerprint: of the project as it is.
        workspace: the directory of its working files under `TRADEHOUSE_HOME`.
        keep_project: whether runs will follow.
    """

    def __init__(
        self,
        settings: Settings,
        warehouse: Warehouse,
        fingerprint: str,
        *,
        workspace: str = "dbt",
        keep_project: bool = False,
    ) -> None:
        self._settings = settings
        self._warehouse = warehouse
        self._fingerprint = fingerprint
        self._workspace = workspace
        self._keep_project = keep_project
        self._environment: dict[str, str] = {}
        self._manifest: Any = None
        self._increments_file = settings.home / workspace / "increments.json"
        self._increments: dict[str, str] = {}  # model -> script, a parent before its children
        self._has_all = False  # whether the last run's incremental models are all among them
        self._recall_increments()

    def parse(self) -> None:
        """Import dbt and parse the project, both of which take their time and need nothing of the data.

        Raises:
            TransformError: the project does not parse.
        """
        self._manifest = self._invoke([], "parse")

    def count_models(self, source: str, materialized: str | None = None) -> int:
        """How many models `selection(source)` picks, or those of one materialization, for a progress bar's total.

        Raises:
            TransformError: the project does not parse.
        """
        if self._manifest is None:
            self.parse()
        owners = [
            set(node.tags) & set(LOCK_KEYS) or {CANDLES}
            for node in self._manifest.nodes.values()
            if node.resource_type == "model" and materialized in (None, node.config.materialized)
        ]
        return sum(source in tags for tags in owners)

    def run(
        self, command: str, *arguments: str, progress: Progress = lambda *_: None, guard: Guard = lambda: None
    ) -> TransformResult:
        """Run one command over nodes, such as `run` or `build`.

        `guard` is called ahead of statements that may write, and once a second ahead of others; when it raises, the
        statement is not sent.

        Raises:
            TransformError: it did not get as far as running nodes.
        """
        if self._keep_project and self._manifest is None:
            self.parse()
        results = self._invoke([_NodeCounter(progress), _StatementGuard(guard)], command, *arguments).results
        self._keep_increments(results)
        return _summary(results)

    def replay(self, connection: Connection, models: Sequence[str]) -> list[str]:
        """Run the increments of models again as dbt ran them last, without dbt; return those that went through.

        An increment is the same text every time: what it does depends on the tables alone. Sending it takes
        milliseconds, whereas dbt needs some 20 ms of Python a model and 0.2 s a run. Each is a transaction of its
        own. A model dbt has not yet run as an increment, or whose table is not as it was, is left for dbt.

        Args:
            connection: in autocommit.
            models: names; a parent before its children.

        Raises:
            psycopg2.Error: the connection is lost.
        """
        done = []
        with connection.cursor() as cursor:
            for model in models:
                if model not in self._increments:
                    continue
                try:
                    cursor.execute(self._increments[model])
                except psycopg2.Error:
                    if connection.closed:
                        raise
                    del self._increments[model]  # dbt will say what is wrong, or mend it
                    self._has_all = False
                else:
                    done.append(model)
        return done

    def replay_all(self, connection: Connection) -> list[str] | None:
        """Replay all increments of a workspace whose runs always take all of its incremental models.

        Returns:
            Their names; None where one is not known or did not go through, so that dbt has to run them.
        """
        if not self._has_all:
            return None
        models = list(self._increments)
        return models if self.replay(connection, models) == models else None

    def _keep_increments(self, results: Sequence[Any]) -> None:
        known = dict(self._increments)
        models = [
            result
            for result in results  # in the order in which they were done
            if result.node.resource_type == "model" and result.node.config.materialized == "incremental"
        ]
        for result in models:
            if str(result.status) == "success" and result.node.build_path:
                script = (DBT_PROJECT / result.node.build_path).read_text(encoding="utf-8")
                if script.startswith(INCREMENT):
                    self._increments.pop(result.node.name, None)  # to come behind what it is made of
                    self._increments[result.node.name] = script
        has_all = all(result.node.name in self._increments for result in models) if models else self._has_all
        if self._increments != known or has_all != self._has_all:
            self._has_all = has_all
            self._leave_increments()

    def _leave_increments(self) -> None:
        """Write the increments down for processes to come. It is a cache: nothing but time is lost with it."""
        left = {"fingerprint": self._fingerprint, "has_all": self._has_all, "increments": self._increments}
        new = self._increments_file.with_suffix(f".{os.getpid()}")
        with suppress(OSError):
            new.write_text(json.dumps(left), encoding="utf-8")
            new.replace(self._increments_file)

    def _recall_increments(self) -> None:
        """Take what another process has left, if it is of the same project."""
        with suppress(OSError, ValueError, LookupError, TypeError):
            left = json.loads(self._increments_file.read_text(encoding="utf-8"))
            if left["fingerprint"] == self._fingerprint:
                self._increments, self._has_all = left["increments"], left["has_all"]

    def _invoke(self, callbacks: list[Any], command: str, *arguments: str) -> Any:
        from dbt.cli.main import dbtRunner  # takes a second, which commands without dbt need not wait

        if not self._environment:
            self._environment = prepare_environment(self._settings, self._warehouse, self._workspace)
        file_level = "debug" if self._settings.log_level == "DEBUG" else "none"
        quiet = ["--quiet", "--log-level", "none", "--log-level-file", file_level, "--no-write-json"]
        with _added_to_environment(self._environment):
            outcome = dbtRunner(manifest=self._manifest, callbacks=callbacks).invoke([*quiet, command, *arguments])
        if outcome.result is None:
            raise TransformError(f"dbt {command} did not run: {_one_line(outcome.exception)}")
        return outcome.result


@contextmanager
def _added_to_environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the block alone: libpq's would lead later connections of the process astray."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _summary(results: list[Any]) -> TransformResult:
    summary = TransformResult(tested=any(result.node.resource_type in ("test", "unit_test") for result in results))
    for result in results:
        name, status = result.node.name, str(result.status)
        message = _one_line(result.message)
        if status == "warn":
            summary.warned[name] = message
        elif status == "success":
            summary.built += 1
        elif status == "pass":
            summary.tests_passed += 1
        elif status != "no-op":
            summary.failed[name] = message
            summary.models_failed += result.node.resource_type == "model"
            if status == "fail":
                summary.rows_failed[name] = result.failures
    return summary


def _one_line(message: object) -> str:
    return " ".join(str(message or "no message").split())


class _NodeCounter:
    """A dbt event callback that counts finished nodes."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._finished = 0

    def __call__(self, event: Any) -> None:
        if event.info.name == "NodeFinished":
            self._finished += 1
            self._progress(event.data.node_info.node_name, self._finished)


class _StatementGuard:
    """A dbt event callback that asks the guard ahead of statements. What it raises fails the model at hand."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._asked = time.monotonic()

    def __call__(self, event: Any) -> None:
        if event.info.name == "SQLQuery" and (not READS.match(event.data.sql) or time.monotonic() - self._asked >= 1):
            self._guard()
            self._asked = time.monotonic()
