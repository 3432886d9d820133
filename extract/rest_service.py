"""What the unattended services of REST sources share: the source, and tests once an hour."""

from __future__ import annotations

import time
from dataclasses import dataclass

from extract.dbt_runner import TransformResult
from extract.rest_run import RestSource
from extract.unattended import Unattended

TEST_EVERY = 3600.0
"""Seconds between runs with every dbt test, where ticks are closer together than that."""


@dataclass(kw_only=True)
class RestService(Unattended):
    """Syncs a REST source until told to stop."""

    source: RestSource
    _next_tests: float = 0.0

    def _plan(self) -> str:
        return f"all tests every {max(self.every, TEST_EVERY):g} s"

    @property
    def _tests_are_due(self) -> bool:
        return time.monotonic() >= self._next_tests

    def _note_tests(self, transform: TransformResult) -> None:
        """Put the next tests off, if a run has had any."""
        if transform.tested:
            self._next_tests = time.monotonic() + TEST_EVERY
