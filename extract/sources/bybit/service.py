"""The unattended service of Bybit: a sync on a steady tick, an hour apart by default."""

from __future__ import annotations

import time
from dataclasses import dataclass

from extract.rest_service import RestService
from extract.sources.bybit.client import BAN_PAUSE, BannedError
from extract.sources.bybit.landing import BybitResult
from extract.sources.bybit.source import run_bybit
from extract.unattended import log


@dataclass(kw_only=True)
class BybitService(RestService):
    """Syncs until told to stop; after a ban it sends nothing until Bybit may let it in again."""

    _banned_until: float = 0.0

    def _tick(self, started: float) -> None:
        self.stop.wait(max(0.0, self._banned_until - time.monotonic()))
        if self.stop.is_set():
            return
        with self._enduring("cycle"):
            self._report(self._persistently(started + self.every, self._sync))

    def _sync(self) -> BybitResult:
        try:
            result = run_bybit(self.source, "bybit run", tests=self._tests_are_due, stop=self.stop)
        except BannedError:
            self._pause()
            raise
        if isinstance(result.stopped, BannedError):
            self._pause()
        self._note_tests(result.transform)
        return result

    def _pause(self) -> None:
        self._banned_until = time.monotonic() + BAN_PAUSE
        log.warning("no requests for %g s", BAN_PAUSE)

    def _report(self, result: BybitResult) -> None:
        """Log what was done, and each trouble when it comes and when it goes."""
        troubles = {"reading": str(result.stopped)} if result.stopped else {}
        troubles |= result.failures
        read = {"reading", *self.source.settings.bybit_categories.split(",")}
        if result.transform.tested or result.transform.failed:
            troubles |= result.transform.failed
            read = set(self._trouble)
        self._tell(troubles, read)
        log.info(
            "%s in %.2f s: %d executions read, %d changed, %d models built%s",
            "done" if result.ok else "partial",
            result.seconds,
            result.rows_read,
            result.rows_changed,
            result.transform.built,
            f", {result.transform.tests_passed} tests passed" if result.transform.tested else "",
        )
