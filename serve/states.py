"""What `tradehouse status` shows: the state of each source, table, symbol and run, and the problems."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class TableState:
    """One candle table.

    Attributes:
        rows: row count; None if the table does not exist yet.
        newest: open of its newest bar.
        expected: open of the newest bar it must have; None where `ops.sync_health` does not know the table.
        lag_seconds: from newest to expected; 0 when current, None for an empty table.
        status: from `ops.sync_health`, or `missing` (no such table), or `unknown` (not in that view).
        reason: the status in words, None when current.
    """

    symbol: str
    timeframe: str
    rows: int | None
    newest: datetime | None
    expected: datetime | None
    lag_seconds: float | None
    status: str
    reason: str | None

    @property
    def ok(self) -> bool:
        """Whether the table has the bar it must have."""
        return self.status == "current"


@dataclass(frozen=True)
class SymbolState:
    """The state of a symbol's table in the source, as the last run found it.

    Attributes:
        status: ok, empty, missing or failed; None if no run has read it yet.
        source_newest: the newest bar that the run read.
        rejects: values of its bars of the last 24 hours that could not be read; None if the view does not exist.
        last_change_at: when rows of the symbol last changed in staging.
        last_error: its last problem, even if it is solved; last_error_at is when that problem first occurred.
    """

    symbol: str
    status: str | None
    source_newest: datetime | None
    rejects: int | None
    last_change_at: datetime | None
    last_error: str | None
    last_error_at: datetime | None


@dataclass(frozen=True)
class RunState:
    """A run record; `seconds` is None while the run goes on."""

    run_id: int
    command: str
    status: str
    started_at: datetime
    finished_at: datetime | None
    seconds: float | None
    rows_read: int
    rows_changed: int
    rows_rejected: int
    models_built: int
    models_failed: int
    error: str | None


@dataclass(frozen=True)
class SourceState:
    """A source that has ever run, as `ops.source_health` judges it.

    Attributes:
        last_status: the status of its newest run, which may still be running.
        last_ended_at: when a run last ended as done, partial or failed.
        last_success_at: when a run was last done with nothing left out.
        due_again_at: when the service expected its next run; None where no service runs it.
        verdict: current, running, partial, failed or dead.
        reason: the verdict in words, None when there is nothing to say.
    """

    source: str
    last_run_id: int
    last_status: str
    last_ended_at: datetime | None
    last_success_at: datetime | None
    due_again_at: datetime | None
    verdict: str
    reason: str | None

    @property
    def ok(self) -> bool:
        """Whether its runs continue and leave nothing out."""
        return self.verdict in {"current", "running"}


@dataclass(frozen=True)
class Problem:
    """Something stale or broken: the names it concerns (empty: everything), and what is wrong."""

    concerned: tuple[str, ...]
    text: str

    def line(self, names: int | None = None, width: int | None = None) -> str:
        """One line, with at most so many of the names and so many characters of the text."""
        shown = self.concerned[:names]
        more = len(self.concerned) - len(shown)
        listed = ", ".join(shown) + (f" and {more:,} more" if more else "")
        text = self.text if width is None or len(self.text) <= width else f"{self.text[: width - 2].rstrip()} …"
        return f"{listed} {text}".strip()


@dataclass(frozen=True)
class Status:
    """Everything `tradehouse status` shows; `problems` is what is stale or broken."""

    as_of: datetime
    grace_minutes: int
    problems: list[Problem]
    sources: list[SourceState]
    tables: list[TableState]
    symbols: list[SymbolState]
    runs: list[RunState]

    @property
    def ok(self) -> bool:
        """Whether nothing is stale or broken."""
        return not self.problems

    @property
    def has_candles(self) -> bool:
        """Whether to show the candle tables: they were looked at, and their source has run, or no source has."""
        return bool(self.tables) and (bool(self.runs) or not self.sources)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; times are datetime objects, problems whole lines."""
        return {"ok": self.ok, **asdict(self), "problems": [problem.line() for problem in self.problems]}
