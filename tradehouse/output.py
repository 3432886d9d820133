"""How all commands print: consoles, tables, progress, and the last line of a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from extract.source import Outcome

DONE, PARTIAL, COULD_NOT_RUN = 0, 1, 2

PLAIN: dict[str, Any] = {"title_justify": "left", "box": box.SIMPLE_HEAD, "padding": 0, "show_edge": False}

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

Report = Callable[[str, int | None, int | None], None]


@contextmanager
def progress() -> Iterator[Report]:
    """A progress bar on a terminal; a line per step elsewhere."""
    if not err.is_terminal:
        seen: set[str] = set()

        def line(step: str, _: int | None, total: int | None) -> None:
            if step not in seen:
                seen.add(step)
                err.print(f"{step} …" if total is None else f"{step} ({total}) …", markup=False)

        yield line
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda step, finished, total: bar.update(task, description=step, completed=finished or 0, total=total)


def print_outcome(outcome: Outcome[Any], *, tests: bool) -> None:
    """Print the last line of a run; `tests` says whether it ran tests."""
    transform = outcome.transform
    counts = f"{outcome.reading.summary}; {len(transform.built)} models built"
    if tests:
        counts += f", {transform.tests_passed} tests passed, {len(transform.warned)} warned"
    out.print(f"{'done' if outcome.ok else 'partial'} in {outcome.seconds:.1f} s: {counts}", markup=False)


def utc(moment: datetime) -> datetime:
    """The moment in UTC."""
    return moment.astimezone(timezone.utc)


def print_json(content: object) -> None:
    """Print what `--json` asks for: times in ISO form and UTC; amounts and dates as text, exactly."""
    click.echo(json.dumps(content, default=_as_text, indent=2))


def _as_text(value: object) -> str:
    return utc(value).isoformat() if isinstance(value, datetime) else str(value)
