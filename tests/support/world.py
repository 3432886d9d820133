"""One pipeline under test: a source file with its writer, a fresh database, and the `tradehouse` command."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions

from tests.support.collector import Collector
from tests.support.launcher import DATABASE as DATABASE
from tests.support.launcher import Forked, can_fork, launcher
from tests.support.oracle import differences, expected_tables

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 300
TRADEHOUSE = Path(sys.executable).parent / "tradehouse"


def run_tradehouse(*arguments: str, environment: Mapping[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would, on a machine whose clock is in Tokyo."""
    return run_program("tradehouse", *arguments, environment=clean_environment(cwd, environment), cwd=cwd)


def clean_environment(home: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables given and as few others as a command needs; the clock is in Tokyo."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "TZ": "Asia/Tokyo", **environment}


def run_program(
    program: str, *arguments: str, environment: Mapping[str, str], cwd: Path, parsed: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run an installed program to its end, in this environment and no other."""
    if can_fork(environment):
        return launcher(program).run(arguments, environment, cwd, TIMEOUT, parsed=parsed)
    command = [str(Path(sys.executable).parent / program), *arguments]
    return subprocess.run(
        command, env=environment, cwd=cwd, capture_output=True, text=True, check=False, timeout=TIMEOUT
    )


@dataclass
class World:
    """What a test needs at hand; `cap` is the row cap the pipeline and the oracle are told."""

    directory: Path
    home: Path
    uri: str
    collector: Collector
    cap: int = 10_000
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def sqlite_path(self) -> Path:
        """The source file."""
        return self.directory / "trading_data.db"

    @property
    def environment(self) -> dict[str, str]:
        """The settings the command gets."""
        return {
            "SQLITE_PATH": str(self.sqlite_path),
            "POSTGRESQL_URI": self.uri,
            "TRADEHOUSE_HOME": str(self.home),
            "MAX_ROWS_PER_TABLE": str(self.cap),
            **self.settings,
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `tradehouse` with the world's settings."""
        return run_tradehouse(*arguments, environment=self.environment, cwd=self.directory)

    def start(self, *arguments: str) -> Forked:
        """Start `tradehouse` with the world's settings; do not wait for it."""
        printed = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        environment = clean_environment(self.directory, self.environment)
        return launcher("tradehouse").start(arguments, environment, self.directory, (printed, printed))

    def start_alone(self, *arguments: str, wrapper: Sequence[str] = ()) -> subprocess.Popen[str]:
        """Start `tradehouse` in an interpreter of its own, behind a wrapping command if need be; do not wait for it."""
        return subprocess.Popen(
            [*wrapper, TRADEHOUSE, *arguments],
            env=clean_environment(self.directory, self.environment),
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def sync(self, *arguments: str, code: int = 0) -> str:
        """Run `tradehouse sync`, demand its exit code, and return all it printed."""
        done = self.run("sync", *arguments)
        printed = done.stdout + done.stderr
        assert done.returncode == code, printed
        assert "Traceback" not in printed, printed
        return printed

    def dbt(
        self, *arguments: str, project: Path = ROOT / "dbt_project", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run plain dbt on the warehouse with what `tradehouse env` prints, the password added by hand.

        Commands that only read the project as it stands in the repository share one parse of it.
        """
        printed = self.run("env").stdout
        exported = dict(
            shlex.split(line)[1].split("=", 1) for line in printed.splitlines() if line.startswith("export ")
        )
        password = psycopg2.extensions.parse_dsn(self.uri).get("password", "")
        environment = {
            **{"PATH": os.environ["PATH"], "HOME": str(self.directory), "PGPASSWORD": password},
            **{"DBT_LOG_LEVEL_FILE": "none"},  # a quarter of dbt's time goes into a log that no test reads
            **(exported | {"DBT_PROJECT_DIR": str(project)} | variables),
        }
        usual = (
            project == ROOT / "dbt_project"
            and psycopg2.extensions.parse_dsn(self.uri)["dbname"] == DATABASE
            and not variables
            and not {"--vars", "--target"} & {*arguments}
        )
        return run_program(
            *("dbt", "--no-use-colors", *arguments),
            environment=environment,
            cwd=project,
            parsed=usual and arguments[0] in ("build", "run", "test"),
        )

    def check(self, source: Path | None = None) -> None:
        """Demand that all 135 tables equal the oracle, row by row and value by value.

        The oracle reads the source file, or the one given where the file itself has lost what has landed.
        """
        expected = expected_tables(source or self.sqlite_path, cap=self.cap)
        with closing(psycopg2.connect(self.uri)) as connection:
            found = differences(connection, expected)
        assert not found, "\n".join(found)

    def sync_and_check(self, code: int = 0) -> str:
        """One cycle, then the comparison with the oracle."""
        printed = self.sync(code=code)
        self.check()
        return printed

    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of a query on the warehouse."""
        with self.connection() as connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            return list(cursor.fetchall())

    def execute(self, sql: str) -> None:
        """Run a statement on the warehouse and commit."""
        with self.connection() as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            connection.commit()

    @contextmanager
    def connection(self) -> Iterator[psycopg2.extensions.connection]:
        """A connection to the warehouse, closed at the end."""
        with closing(psycopg2.connect(self.uri)) as connection:
            yield connection
