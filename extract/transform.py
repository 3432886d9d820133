"""dbt, run in this process: the T of the cycle."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from extract.settings import DBT_PROJECT, ROOT, Settings
from extract.warehouse import Warehouse

# Files whose change asks for a full build; the rest of the tree has no say in what dbt makes.
PROJECT_FILES = (
    "dbt_project/dbt_project.yml",
    "dbt_project/models/**/*",
    "dbt_project/seeds/**/*",
    "macros/**/*",
)


class TransformError(Exception):
    """dbt could not run at all; the message is its own, on one line."""


@dataclass
class TransformResult:
    """What dbt did, by node."""

    built: int = 0
    tests_passed: int = 0
    tested: bool = False
    models_failed: int = 0
    failed: dict[str, str] = field(default_factory=dict)  # model or test -> message
    warned: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every model was built and no test failed."""
        return not self.failed


Progress = Callable[[str, int], None]  # (node name, nodes finished so far)


def project_fingerprint(settings: Settings) -> str:
    """A digest of everything the tables are made of but their data: equal digests, equal tables."""
    digest = hashlib.sha256(str(settings.max_rows_per_table).encode())
    for pattern in PROJECT_FILES:
        for file in sorted(path for path in ROOT.glob(pattern) if path.is_file()):
            digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def prepare_environment(settings: Settings, warehouse: Warehouse) -> dict[str, str]:
    """The variables with which any dbt command finds the project, the profile and the warehouse."""
    profiles = settings.home / "dbt"
    profiles.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / "profiles.yml.example", profiles / "profiles.yml")
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

    A parsed project is kept for the runs that follow; with `keep_project` the first run parses it. It is as of
    that moment: make a new object when a file has changed.
    """

    def __init__(self, settings: Settings, warehouse: Warehouse, *, keep_project: bool = False) -> None:
        self._settings = settings
        self._warehouse = warehouse
        self._keep_project = keep_project
        self._environment: dict[str, str] = {}
        self._manifest: Any = None

    def parse(self) -> None:
        """Import dbt and parse the project, both of which take their time and need nothing of the data.

        Raises:
            TransformError: the project does not parse.
        """
        self._manifest = self._invoke([], "parse")

    def run(self, command: str, *arguments: str, progress: Progress | None = None) -> TransformResult:
        """Run one command over nodes, such as `run` or `build`.

        Raises:
            TransformError: it did not get as far as running nodes.
        """
        if self._keep_project and self._manifest is None:
            self.parse()
        callbacks = [_NodeCounter(progress)] if progress else []
        summary = _summary(self._invoke(callbacks, command, *arguments).results)
        summary.tested = command == "build"
        return summary

    def _invoke(self, callbacks: list[Any], command: str, *arguments: str) -> Any:
        from dbt.cli.main import dbtRunner  # takes a second, which commands without dbt need not wait

        if not self._environment:
            self._environment = prepare_environment(self._settings, self._warehouse)
        os.environ.update(self._environment)
        file_level = "debug" if self._settings.log_level == "DEBUG" else "none"
        quiet = ["--quiet", "--log-level", "none", "--log-level-file", file_level, "--no-write-json"]
        outcome = dbtRunner(manifest=self._manifest, callbacks=callbacks).invoke([*quiet, command, *arguments])
        if outcome.result is None:
            raise TransformError(f"dbt {command} did not run: {_one_line(outcome.exception)}")
        return outcome.result


def _summary(results: list[Any]) -> TransformResult:
    summary = TransformResult()
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


def models_in_project() -> int:
    """How many model files there are, for a progress bar's total."""
    return sum(1 for _ in Path(DBT_PROJECT / "models").rglob("*.sql"))
