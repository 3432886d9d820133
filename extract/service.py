"""The unattended service: a cycle on a steady tick, for months."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from tenacity import (
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_any,
    stop_before_delay,
    stop_when_event_set,
    wait_random_exponential,
)

from extract.cycle import CycleResult, Pipeline
from extract.mt5_file import SourceError
from extract.reconcile import reconcile, seconds_until_due
from extract.settings import Project, Settings
from extract.transform import TransformError
from extract.warehouse import LockHeldError, WarehouseError, WarehouseUnavailableError

log = logging.getLogger("tradehouse")

STALLED_AFTER = 3600.0
"""Seconds after which a tick is taken to hang: on a peer that keeps the connection and says nothing."""
RETRY_RECONCILIATION = 600.0
"""Seconds before a reconciliation that could not run is tried again; it may have taken a while to fail."""


@dataclass
class Service:
    """Runs cycles until told to stop.

    Attributes:
        every: seconds from the start of one tick to the start of the next.
        build_every: seconds between full builds with all tests.
        reconcile_every: seconds between reconciliations of the whole file.
        stop: set it to end after the step in hand.
        stalled_after: seconds after which a tick is given up, and the process starts itself anew.
    """

    settings: Settings
    project: Project
    every: float
    build_every: float
    reconcile_every: float
    stop: threading.Event = field(default_factory=threading.Event)
    stalled_after: float = STALLED_AFTER
    _next_build: float = 0.0
    _next_reconciliation: float = 0.0
    _trouble: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._pipeline = Pipeline(self.settings, self.project, unattended=True)

    def run(self) -> None:
        """Tick until stopped. No fault of source, warehouse or project ends it."""
        log.info(
            "running every %g s, all tests every %g s; SIGTERM ends after the step in hand",
            self.every,
            self.build_every,
        )
        due = time.monotonic()
        while not self.stop.is_set():
            with starting_anew_after(self.stalled_after):
                self._tick(due)
            due += self.every
            late = time.monotonic() - due
            if late > 0:
                skipped = int(late // self.every) + 1
                log.warning("the tick took %.1f s too long: %d skipped", late, skipped)
                due += skipped * self.every
            self.stop.wait(max(0.0, due - time.monotonic()))
        self._pipeline.disconnect()
        log.info("stopped")

    def _tick(self, started: float) -> None:
        with self._enduring("cycle"):
            self._report(self._cycle_with_retries(started + self.every))
        in_order = not {"cycle", "lock"} & self._trouble.keys()
        if in_order and time.monotonic() >= self._next_reconciliation and not self.stop.is_set():
            self._next_reconciliation = time.monotonic() + RETRY_RECONCILIATION
            with self._enduring("reconcile"):
                self._reconcile_if_due()

    @contextmanager
    def _enduring(self, step: str) -> Iterator[None]:
        """Note what goes wrong in a step, and when it no longer does; nothing ends the service."""
        try:
            yield
        except LockHeldError as held:
            self._note("lock", str(held))
        except (SourceError, TransformError, WarehouseError) as error:
            self._pipeline.disconnect()
            self._note(step, str(error))
        except Exception as error:
            self._pipeline.disconnect()
            log.debug("unexpected", exc_info=True)
            self._note(step, f"unexpected {type(error).__name__}: {error}")
        else:
            self._clear("lock", step)

    def _cycle_with_retries(self, deadline: float) -> CycleResult:
        """One cycle, tried again while the warehouse does not answer and the tick lasts."""
        retrying = Retrying(
            retry=retry_if_exception_type(WarehouseUnavailableError),
            wait=wait_random_exponential(multiplier=0.5, max=8.0),
            stop=stop_any(stop_when_event_set(self.stop), stop_before_delay(max(0.0, deadline - time.monotonic()))),
            sleep=sleep_using_event(self.stop),
            reraise=True,
        )
        result: CycleResult = retrying(self._cycle, deadline)
        return result

    def _cycle(self, deadline: float) -> CycleResult:
        try:
            result = self._pipeline.run(
                "run",
                tests=time.monotonic() >= self._next_build,
                patience=max(0.0, deadline - time.monotonic()),
            )
        except WarehouseUnavailableError:
            self._pipeline.disconnect()
            raise
        if result.transform.tested:
            self._next_build = time.monotonic() + self.build_every
        return result

    def _reconcile_if_due(self) -> None:
        wait = seconds_until_due(self._pipeline, self.reconcile_every)
        if wait <= 0:
            started = time.monotonic()
            result = reconcile(self._pipeline, self.project.symbols)
            log.info("reconciled in %.1f s: %s", time.monotonic() - started, result.summary)
            for problem in result.problems:
                log.error("reconcile: %s", problem)
            wait = self.reconcile_every
        self._next_reconciliation = time.monotonic() + wait

    def _report(self, result: CycleResult) -> None:
        """Log what was done, and each trouble when it comes and when it goes."""
        troubles = {name: outcome.error for name, outcome in result.extraction.outcomes.items() if outcome.error}
        if result.extraction.error:
            self._note("source", result.extraction.error)
        else:
            self._clear("source")
        if result.transform.tested or result.transform.failed:
            troubles |= result.transform.failed
            known = {name for name in self._trouble if name not in result.extraction.outcomes}
        else:
            known = set()
        for name, text in troubles.items():
            self._note(name, text or "")
        self._clear(*((known | set(result.extraction.outcomes)) - set(troubles)))
        if result.extraction.ignored_tables:
            self._note("ignored tables", ", ".join(result.extraction.ignored_tables), logging.INFO)
        log.info(
            "%s in %.2f s: %d rows read, %d changed, %d models built%s",
            "done" if result.ok else "partial",
            result.seconds,
            result.extraction.rows_read,
            result.extraction.rows_changed,
            result.transform.built,
            f", {result.transform.tests_passed} tests passed" if result.transform.tested else "",
        )

    def _note(self, name: str, text: str, level: int = logging.ERROR) -> None:
        """Log a trouble once, however long it lasts."""
        if self._trouble.get(name) != text:
            self._trouble[name] = text
            log.log(level, "%s: %s", name, text)

    def _clear(self, *names: str) -> None:
        """Log that a trouble is over, if it was one."""
        for name in names:
            if self._trouble.pop(name, None) is not None:
                log.info("%s: cleared", name)


@contextmanager
def starting_anew_after(seconds: float) -> Iterator[None]:
    """Start this program again, from its own command line and under the same process id, if the block takes longer.

    A thread that waits for an answer that never comes cannot be told to stop. The new program has none of the old
    one's connections, and the server releases their locks.
    """

    def start_anew() -> None:
        log.error("the tick hangs since %g s: starting anew", seconds)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

    watch = threading.Timer(seconds, start_anew)
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()


@contextmanager
def stopping_on_signals(stop: threading.Event) -> Iterator[None]:
    """SIGTERM or SIGINT sets `stop`; a second one ends the process at once, as if nobody had caught it."""

    def first(number: int, _: FrameType | None) -> None:
        log.info("%s: ending after the step in hand; once more ends at once", signal.Signals(number).name)
        stop.set()
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)

    before = {each: signal.signal(each, first) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
