"""The protocol of a source: all that a run and a service know about a source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from extract.dbt_runner import TransformResult

if TYPE_CHECKING:
    from extract.run import RunContext


@dataclass(kw_only=True)
class Reading:
    """What `read` landed, and what failed.

    Attributes:
        parts: the parts that were read or tried: symbols, categories, accounts.
        failed: part -> why it could not be read in full.
        error: why reading stopped for the source as a whole; None if it did not.
        notes: lines for the user that need no action.
        rows_read: rows that came from the source.
        rows_changed: how many of these were new to staging or different from the row there.
        rows_rejected: values that could not be landed.
        unit: the word for rows, in the plural.
        pause: seconds for which a service should send no request.
    """

    parts: Sequence[str] = ()
    failed: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    notes: list[str] = field(default_factory=list)
    rows_read: int = 0
    rows_changed: int = 0
    rows_rejected: int = 0
    unit: str = "rows"
    pause: float = 0.0

    @property
    def problems(self) -> list[str]:
        """What could not be read, each in one line."""
        return [*([self.error] if self.error else []), *(f"{part}: {why}" for part, why in self.failed.items())]

    @property
    def summary(self) -> str:
        """What was read, for the last line of a run's output."""
        return f"{self.rows_read:,} {self.unit} read, {self.rows_changed:,} changed, {self.rows_rejected:,} rejected"

    def details(self) -> dict[str, Any]:
        """Fields that `--json` prints in addition to the counts."""
        return {}


R = TypeVar("R", bound=Reading)


@dataclass
class Outcome(Generic[R]):
    """What a run did.

    Attributes:
        run_id: the id of the run's record.
        reading: what was read and landed.
        transform: what was built, refreshed and tested.
        seconds: how long the run took.
    """

    run_id: int
    reading: R
    transform: TransformResult = field(default_factory=TransformResult)
    seconds: float = 0.0

    @property
    def problems(self) -> list[str]:
        """What could not be read or built, each in one line."""
        return self.reading.problems + self.transform.problems

    @property
    def ok(self) -> bool:
        """Whether everything was read and built."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """The outcome as `--json` prints it."""
        return {
            "success": self.ok,
            "run_id": self.run_id,
            "duration_ms": round(self.seconds * 1000),
            "rows_read": self.reading.rows_read,
            "rows_changed": self.reading.rows_changed,
            "rows_rejected": self.reading.rows_rejected,
            "models_built": len(self.transform.built),
            "tests_passed": self.transform.tests_passed,
            "problems": self.problems,
            **self.reading.details(),
        }


class Source(ABC, Generic[R]):
    """A place that rows come from. One object serves all runs of a process."""

    name: ClassVar[str]
    """Names the dbt tag of its models, its run lock, `sql/staging/<name>.sql` and `docs/<name>.md`."""

    @abstractmethod
    def read(self, run: RunContext) -> R:
        """Land what is new; say which parts failed and why.

        Raises:
            SourceError: nothing could be read; what has landed stays.
        """

    @abstractmethod
    def stale_models(self, reading: R) -> Sequence[str] | None:
        """The incremental models to refresh after this reading; None means all of the source."""

    def after(self, run: RunContext, outcome: Outcome[R]) -> None:
        """Clean up after the models are refreshed, for example prune staging."""
