"""Runs dbt in a separate process, so that its memory is freed when it ends."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from extract.errors import TransformError
from extract.settings import DBT_PROJECT, ROOT, Settings
from extract.warehouse import Warehouse

Progress = Callable[[str, int | None, int | None], None]
"""Called with a step, how much of it is finished, and how much there is; None where that is unknown."""


@dataclass(frozen=True)
class BuiltModel:
    """A model or seed of a source; `relation` is its name in the warehouse."""

    model: str
    relation: str
    is_incremental: bool


@dataclass
class TransformResult:
    """What was built, refreshed and tested, by model or test.

    Attributes:
        built: models and seeds that dbt built, and tables that were refreshed without it.
        tests_passed: how many tests passed.
        failed: model or test -> why.
        models_failed: how many of `failed` are models.
        skipped: models and tests that did not run because one they depend on failed.
        warned: test -> its warning.
        rows_failed: failed test -> rows it returned.
        models: all of the source's models, each after those it depends on; empty where dbt did not run.
    """

    built: list[str] = field(default_factory=list)
    tests_passed: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    models_failed: int = 0
    skipped: list[str] = field(default_factory=list)
    warned: dict[str, str] = field(default_factory=dict)
    rows_failed: dict[str, int] = field(default_factory=dict)
    models: list[BuiltModel] = field(default_factory=list)

    def add(self, other: TransformResult) -> None:
        """Add a later result. What that one built no longer counts as failed."""
        mended = self.failed.keys() & set(other.built)
        self.failed = {name: why for name, why in self.failed.items() if name not in mended}
        self.models_failed -= len(mended)
        self.built += other.built
        self.tests_passed += other.tests_passed
        self.failed |= other.failed
        self.models_failed += other.models_failed
        self.skipped += other.skipped
        self.warned |= other.warned
        self.rows_failed |= other.rows_failed
        self.models = other.models or self.models

    @property
    def problems(self) -> list[str]:
        """What failed, each in one line."""
        found = [f"{name}: {message}" for name, message in self.failed.items()]
        if self.skipped:
            found.append(f"skipped, because something they depend on failed: {_listed(self.skipped)}")
        return found


def _listed(names: Sequence[str], most: int = 5) -> str:
    """The first names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def prepare_environment(settings: Settings, warehouse: Warehouse, workspace: str = "dbt") -> dict[str, str]:
    """The variables with which any dbt command finds the project, the profile and the warehouse.

    `workspace` is the directory of dbt's working files. Two dbt processes at a time need one each, because dbt
    overwrites what another has parsed.

    Raises:
        TransformError: the profile cannot be written.
    """
    profiles = settings.home / workspace
    try:
        profiles.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "profiles.yml.example", profiles / "profiles.yml")
        _take_over_parse(profiles)
    except OSError as error:
        raise TransformError(f"TRADEHOUSE_HOME: {profiles} cannot be written: {error.strerror}") from None
    return {
        **warehouse.libpq_environment(),
        "DBT_PROJECT_DIR": str(DBT_PROJECT),
        "DBT_PROFILES_DIR": str(profiles),
        "DBT_TARGET_PATH": str(profiles / "target"),
        "DBT_LOG_PATH": str(profiles / "logs"),
        "DBT_THREADS": str(settings.dbt_threads),
    }


def _take_over_parse(workspace: Path) -> None:
    """Start a new workspace with what dbt has parsed in another of the same home: parsing all takes four seconds.

    dbt checks it against the project and the profile, and parses what differs.
    """
    parsed = workspace / "target" / "partial_parse.msgpack"
    if parsed.exists():
        return
    with suppress(OSError):  # it only saves time, and another process may be at work there
        others = sorted(
            workspace.parent.glob("dbt*/target/partial_parse.msgpack"), key=lambda path: path.stat().st_mtime
        )
        if others:
            parsed.parent.mkdir(exist_ok=True)
            shutil.copyfile(others[-1], parsed)


class Dbt:
    """dbt on the project and the warehouse, for one source.

    Args:
        settings: the settings.
        warehouse: where the models are built.
        source: the source; its models are those tagged with its name.
        workspace: the directory of dbt's working files under `TRADEHOUSE_HOME`.
    """

    def __init__(self, settings: Settings, warehouse: Warehouse, source: str, workspace: str | None = None) -> None:
        self._settings = settings
        self._warehouse = warehouse
        self._source = source
        self._workspace = workspace or f"dbt-{source}"

    def start(self, *arguments: str) -> DbtProcess:
        """Start dbt on a command such as `build`. It parses the project, then waits until `wait` is called.

        Raises:
            TransformError: its working files cannot be written.
        """
        environment = os.environ | prepare_environment(self._settings, self._warehouse, self._workspace)
        if self._settings.log_level == "DEBUG":
            environment["TRADEHOUSE_DBT_LOG"] = "1"
        return DbtProcess(self._source, arguments, environment)

    def run(self, *arguments: str, step: str = "building", progress: Progress = lambda *_: None) -> TransformResult:
        """Run one dbt command to its end.

        Raises:
            TransformError: dbt could not run any node.
        """
        return self.start(*arguments).wait(step, progress)


class DbtProcess:
    """A running dbt process; `wait` lets it run its command and reads its output."""

    def __init__(self, source: str, arguments: Sequence[str], environment: dict[str, str]) -> None:
        self.arguments = arguments
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "extract.dbt_process", source, *arguments],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,  # Ctrl-C goes to the parent, which ends after the current step
        )
        self._last: dict[str, Any] = {}

    def go(self) -> None:
        """Let it run its command as soon as it has parsed the project."""
        assert self._process.stdin
        try:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return  # it has ended already, and `wait` says why

    def wait_until_parsed(self) -> None:
        """Wait until it has parsed the project; the time after that is the time of the command."""
        assert self._process.stdout
        while not {"parsed", "error"} & self._last.keys():
            self._last = json.loads(self._process.stdout.readline() or '{"error": "dbt ended while it parsed"}')

    def wait(self, step: str = "building", progress: Progress = lambda *_: None) -> TransformResult:
        """Let it run its command, and read its output to the end.

        Raises:
            TransformError: dbt could not run any node.
        """
        self.go()
        self.read(step, progress)
        return self.result()

    def read(self, step: str = "building", progress: Progress = lambda *_: None) -> None:
        """Read its output to the end."""
        assert self._process.stdout
        total = None
        for line in self._process.stdout:
            self._last = json.loads(line)
            total = self._last.get("total", total)
            if "finished" in self._last or "total" in self._last:
                progress(step, self._last.get("finished", 0), total)
        self._process.wait()

    def result(self) -> TransformResult:
        """What it did; call this after it has ended.

        Raises:
            TransformError: dbt could not run any node.
        """
        command = " ".join(self.arguments[:1])
        if "result" in self._last:
            return _summary(self._last["result"])
        if "error" in self._last:
            raise TransformError(f"dbt {command} did not run: {self._last['error']}")
        self._errors.seek(0)
        words = self._errors.read().decode(errors="replace").strip().splitlines()
        raise TransformError(
            f"dbt {command} broke off (exit code {self._process.returncode}): {(words or ['no message'])[-1]}"
        )

    def end(self) -> None:
        """Kill the process; its open transactions roll back."""
        self._process.kill()
        self._process.wait()


def _summary(result: dict[str, Any]) -> TransformResult:
    summary = TransformResult(models=[BuiltModel(**each) for each in result["models"]])
    for node in result["nodes"]:
        name, kind, status = node["name"], node["kind"], node["status"]
        is_test = kind in ("test", "unit_test")
        if status == "warn":
            summary.warned[name] = node["message"]
        elif status == "pass":
            summary.tests_passed += 1
        elif status == "success":
            if kind in ("model", "seed"):
                summary.built.append(name)
        elif status == "skipped":
            summary.skipped.append(name)
        elif status != "no-op":
            summary.failed[name] = node["message"]
            summary.models_failed += not is_test
            if status == "fail":
                summary.rows_failed[name] = node["failures"]
    return summary
