"""A pipeline under test whose source is the fake Bybit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.collector import Collector
from tests.support.fake_bybit import KEY as API_KEY
from tests.support.fake_bybit import SECRET, FakeBybit
from tests.support.rest_world import RestWorld

FAST = {"BYBIT_REQUESTS_PER_SECOND": "500"}
SECRETS = (API_KEY, SECRET)


@dataclass
class BybitWorld(RestWorld[FakeBybit]):
    """A world whose source is a fake Bybit."""

    secrets: tuple[str, ...] = SECRETS

    def bybit(self, *arguments: str, code: int = 0) -> str:
        """Run `tradehouse bybit …`, demand its exit code and that no secret shows; return all it printed."""
        done = self.call("bybit", *arguments, code=code)
        return done.stdout + done.stderr

    def fails(self, *arguments: str) -> str:
        """Run a command that cannot work: exit 2 and one line, which is returned."""
        printed = self.bybit(*arguments, code=2)
        lines = [line for line in printed.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, printed
        return lines[0]

    def backfill(self, *arguments: str, code: int = 0) -> str:
        """Run `tradehouse bybit backfill --months 1`."""
        return self.bybit("backfill", "--months", "1", *arguments, code=code)

    def landed(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """What staging holds: execId -> category, payload."""
        rows = self.query("select exec_id, category, payload from staging.bybit_executions")
        return {exec_id: (category, payload) for exec_id, category, payload in rows}

    def last_run(self) -> tuple[Any, ...]:
        """Command, status, rows read, changed and rejected, and error of the newest run."""
        [run] = self.query(
            "select command, status, rows_read, rows_changed, rows_rejected, error"
            " from ops.sync_runs order by run_id desc limit 1"
        )
        return run


@contextmanager
def bybit_world_on(uri: str, home: Path, directory: Path) -> Iterator[BybitWorld]:
    """A warehouse and an account without executions."""
    with FakeBybit() as fake:
        yield BybitWorld(directory, home, uri, Collector(directory / "none.db"), settings=dict(FAST), fake=fake)
