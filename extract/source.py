"""The protocol of a source: all that a run and a service know of where rows come from."""

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
    """What a source's `read` landed, and what it could not.

    Attributes:
        parts: what was looked at: symbols, categories, accounts.
        failed: part -> why it could not be read, or not to the end.
        error: why nothing, or nothing more, could be read of any part.
        notes: what somebody may want to know and nobody has to mend.
        rows_read: rows the source gave.
        rows_changed: of these, new to staging or different there.
        rows_rejected: values that could not be landed.
        unit: what a row is called, in the plural.
        pause: seconds in which a service should ask for nothing more.
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
        """What was read, for the line a run ends with."""
        return f"{self.rows_read:,} {self.unit} read, {self.rows_changed:,} changed, {self.rows_rejected:,} rejected"

    def details(self) -> dict[str, Any]:
        """What `--json` tells of it beside the counts."""
        return {}


R = TypeVar("R", bound=Reading)


@dataclass
class Outcome(Generic[R]):
    """What a run did.

    Attributes:
        run_id: of its record.
        reading: what was landed.
        transform: what was built, refreshed and tested.
        seconds: how long it took.
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
        """For JSON."""
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
    """Where rows come from. One object serves all runs of a process."""

    name: ClassVar[str]
    """The dbt tag of its models, the name of its run lock, of `sql/staging/<name>.sql` and `docs/<name>.md`."""

    @abstractmethod
    def read(self, run: RunContext) -> R:
        """Land what is new; say which parts failed and why.

        Raises:
            SourceError: nothing could be read; what has landed stays.
        """

    @abstractmethod
    def stale_models(self, reading: R) -> Sequence[str] | None:
        """The incremental models that what was landed calls for; None: all of the source."""

    def after(self, run: RunContext, outcome: Outcome[R]) -> None:
        """Clean up once the models are refreshed: prune, for one."""
