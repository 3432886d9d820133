"""Contests: the same job done by several contenders in turns, and the tables that tell how long each took."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

PLAIN = "plain script"

Report = Callable[[str], None]
"""Told what is at work now, for a terminal."""


@dataclass(frozen=True)
class Contest:
    """One job: seconds of every run, by contender; ratios are to the yardstick's median."""

    job: str
    seconds: dict[str, list[float]]
    yardstick: str = PLAIN

    def rows(self) -> Iterable[tuple[str, str, str, str, str]]:
        """Job (in the first row), contender, median, all runs, ratio: one row for each contender."""
        yardstick = statistics.median(self.seconds[self.yardstick])
        job = self.job
        for contender, runs in self.seconds.items():
            median = statistics.median(runs)
            digits = 1 if yardstick >= 3 else 2
            every = " ".join(f"{run:.{digits}f}" for run in runs)
            yield job, contender, f"{median:.{digits}f}", every, f"{median / yardstick:.2f}"
            job = ""


@dataclass(frozen=True)
class Section:
    """What one benchmark found.

    Attributes:
        title: the heading.
        about: what was done, for a reader who wants to judge it.
        contests: the jobs.
        figures: other findings, name to text.
    """

    title: str
    about: str
    contests: list[Contest]
    figures: dict[str, str] = field(default_factory=dict)


def hold(
    job: str,
    contenders: Mapping[str, Callable[[], float]],
    rounds: int,
    *,
    before: Callable[[], None] = lambda: None,
    yardstick: str = PLAIN,
    report: Report = lambda _: None,
) -> Contest:
    """Run every contender once a round, in turns, so that a slow moment of the machine hits all.

    Args:
        job: what they do.
        contenders: by name; each returns the seconds it took.
        rounds: runs of each.
        before: called ahead of every round; what it changes, all contenders find.
        yardstick: the contender the others are compared with.
        report: told what is at work.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(1, rounds + 1):
        before()
        for name, contender in contenders.items():
            report(f"{job}: {name}, {number} of {rounds}")
            seconds[name].append(contender())
    return Contest(job, seconds, yardstick)
