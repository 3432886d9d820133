"""The unattended service of the candles: a cycle on a steady tick, for months."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from functools import partial

from extract.cycle import CycleResult, Pipeline
from extract.errors import WarehouseUnavailableError
from extract.settings import Project, Settings
from extract.sources.mt5.reconcile import reconcile, seconds_until_due
from extract.unattended import Unattended, log

RETRY_RECONCILIATION = 600.0
"""Seconds before a reconciliation that could not run is tried again; it may have taken a while to fail."""


@dataclass(kw_only=True)
class Service(Unattended):
    """Runs cycles until told to stop.

    Attributes:
        build_every: seconds between full builds with all tests.
        reconcile_every: seconds between reconciliations of the whole file.
    """

    settings: Settings
    project: Project
    build_every: float
    reconcile_every: float
    _next_build: float = 0.0
    _next_reconciliation: float = 0.0
    _pipeline: Pipeline = field(init=False)

    def __post_init__(self) -> None:
        self._pipeline = Pipeline(self.settings, self.project, unattended=True)

    def _plan(self) -> str:
        return f"all tests every {self.build_every:g} s"

    def _disconnect(self) -> None:
        self._pipeline.disconnect()

    def _tick(self, started: float) -> None:
        deadline = started + self.every
        with self._enduring("cycle"):
            self._report(self._persistently(deadline, partial(self._cycle, deadline)))
        in_order = not {"cycle", "lock"} & self._trouble.keys()
        if in_order and time.monotonic() >= self._next_reconciliation and not self.stop.is_set():
            self._next_reconciliation = time.monotonic() + RETRY_RECONCILIATION
            with self._enduring("reconcile"):
                self._reconcile_if_due()

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
        self._tell(troubles, known | set(result.extraction.outcomes))
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
