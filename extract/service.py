"""One unattended service: a steady tick, retries, and each problem logged once when it starts and once when it ends."""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_any,
    stop_before_delay,
    stop_when_event_set,
    wait_random_exponential,
)

from extract.alerts import Alerts
from extract.dbt_runner import DbtProcess
from extract.errors import LockHeldError, SourceError, TradehouseError, WarehouseUnavailableError
from extract.process_control import starting_anew_after, stopping_on_signals
from extract.run import Runner
from extract.source import Outcome

log = logging.getLogger("tradehouse")

STALLED_AFTER = 3600.0
"""Seconds after which a tick counts as hung, as on a server that keeps the connection open and sends nothing."""
RETRY_CHORE = 600.0
"""Seconds before a failed chore is tried again, because a failing chore may take long."""


@dataclass
class Chore:
    """Work that a service does less often than every tick, under the source's run lock.

    Attributes:
        name: its name in the log.
        work: does the work if the run records say it is due. Returns lines for the log, problems, and the seconds
            until it is due again. Raises what a run raises.
    """

    name: str
    work: Callable[[Runner[Any]], tuple[Sequence[str], Sequence[str], float]]
    next_at: float = 0.0  # monotonic clock


@dataclass(kw_only=True)
class Service:
    """Runs a source until told to stop.

    Attributes:
        runner: runs the source.
        alerts: tells people of troubles.
        command: the name of its runs in the run records.
        every: seconds from the start of one tick to the start of the next.
        test_every: seconds between builds with every dbt test, which run beside the ticks; 0: never.
        chores: work that is done less often.
        stop: set it to end after the current step.
        stalled_after: seconds after which a tick counts as hung and the process restarts itself.
    """

    runner: Runner[Any]
    alerts: Alerts
    command: str
    every: float
    test_every: float
    chores: Sequence[Chore] = ()
    stop: threading.Event = field(default_factory=threading.Event)
    stalled_after: float = STALLED_AFTER
    _trouble: dict[str, str] = field(default_factory=dict)
    _next_tests: float = 0.0
    _tests: _BackgroundTests | None = None
    _quiet_until: float = 0.0
    _test_troubles: set[str] = field(default_factory=set)
    _notes: set[str] = field(default_factory=set)
    _reachable: bool = False  # whether the last run reached the warehouse and held the lock
    _complete: bool = False  # whether a tick has read the whole source
    _to_look_at: set[str] = field(default_factory=lambda: {"tick", "tests"})

    def run(self) -> None:
        """Tick until stopped. No error of the source, the warehouse or the project ends the service."""
        tests = f"all tests every {self.test_every:g} s" if self.test_every else "no tests"
        log.info("running every %g s, %s; SIGTERM ends after the current step", self.every, tests)
        if not self.test_every:
            self._next_tests = math.inf
            self._to_look_at.discard("tests")
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
            self._wait(due)
        if self._tests is not None:
            self._tests.process.end()
        self.alerts.close()
        self._keep_alerts()
        self.runner.disconnect()
        log.info("stopped")

    def _wait(self, due: float) -> None:
        """Wait for the next tick; tests that end meanwhile are reported at once."""
        while not self.stop.is_set() and time.monotonic() < due:
            self._collect_tests()
            self._keep_alerts()
            busy = self._tests or (self._reachable and self.alerts.is_pending)
            self.stop.wait(max(0.0, min(due - time.monotonic(), 1.0 if busy else due)))

    def _tick(self, started: float) -> None:
        if started < self._quiet_until:
            return
        deadline = started + self.every
        with self._enduring("run"):
            self._report(self._persistently(deadline, lambda: self._run(deadline)))
        self._collect_tests()
        for chore in self.chores:
            if self._in_order and time.monotonic() >= chore.next_at and not self.stop.is_set():
                chore.next_at = time.monotonic() + RETRY_CHORE
                with self._enduring(chore.name):
                    self._do(chore)
        if self._in_order and self._tests is None and time.monotonic() >= self._next_tests and not self.stop.is_set():
            self._next_tests = time.monotonic() + self.test_every
            with self._enduring("tests"):
                self._tests = _BackgroundTests(self.runner.start_tests())
        if self._complete:
            self._looked_at("tick")

    def _looked_at(self, step: str) -> None:
        """Once each step has had its turn, a trouble that an earlier process recorded and nobody has seen has ended."""
        self._to_look_at.discard(step)
        if not self._to_look_at:
            self.alerts.settle()

    def _keep_alerts(self) -> None:
        """Write down what people have been told of, if there is news and the last run reached the warehouse."""
        if self._reachable and self.alerts.is_unwritten:
            self._reachable = False
            with starting_anew_after(self.stalled_after), self._enduring("alerts"):
                self.alerts.keep(*self.runner.connect(self.command))
                self._reachable = True

    @property
    def _in_order(self) -> bool:
        """Whether the last run could do its work."""
        return not {"run", "lock"} & self._trouble.keys()

    def _run(self, deadline: float) -> Outcome[Any]:
        self._reachable = True
        try:
            outcome = self.runner.run(
                self.command,
                patience=max(0.0, deadline - time.monotonic()),
                due_again=self.every,
                stop=self.stop,
            )
        except WarehouseUnavailableError:
            self._reachable = False
            self.runner.disconnect()
            raise
        except LockHeldError:
            self._reachable = False
            raise
        except SourceError as error:
            self._keep_quiet(error.pause)
            raise
        finally:
            if self._reachable:
                with suppress(TradehouseError):  # `keep` says why
                    self.alerts.recall(*self.runner.connect(self.command))
        self._keep_quiet(outcome.reading.pause)
        return outcome

    def _keep_quiet(self, seconds: float) -> None:
        if seconds:
            self._quiet_until = time.monotonic() + seconds
            log.warning("no requests for %g s", seconds)

    def _do(self, chore: Chore) -> None:
        lines, problems, wait = chore.work(self.runner)
        for line in lines:
            log.info("%s", line)
        for problem in problems:
            log.error("%s: %s", chore.name, problem)
        chore.next_at = time.monotonic() + wait

    def _collect_tests(self) -> None:
        """Report the build with tests that runs beside the ticks, once it has ended."""
        if self._tests is None or not self._tests.ended:
            return
        tests, self._tests = self._tests, None
        with self._enduring("tests"):
            result = tests.process.result()
            self.runner.record_tests(tests.started_at, result)
            self._tell(result.failed, self._test_troubles)
            self._test_troubles = set(result.failed)
            log.info(
                "%d models built, %d tests passed%s",
                len(result.built),
                result.tests_passed,
                f", {len(result.failed)} failed" if result.failed else "",
            )
            self._looked_at("tests")

    def _report(self, outcome: Outcome[Any]) -> None:
        """Log what was done, and each problem when it starts and when it ends."""
        reading, transform = outcome.reading, outcome.transform
        self._complete = self._complete or not reading.error
        troubles = {**reading.failed, **transform.failed}
        looked_at = {*reading.parts, *transform.built, "source"}
        if reading.error:
            troubles["source"] = reading.error
        self._tell(troubles, looked_at)
        for note in reading.notes:
            if note not in self._notes:
                log.info("%s", note)
        self._notes = set(reading.notes)
        log.info(
            "%s in %.2f s: %s, %d models built",
            "done" if outcome.ok else "partial",
            outcome.seconds,
            reading.summary,
            len(transform.built),
        )

    @contextmanager
    def _enduring(self, step: str) -> Iterator[None]:
        """Log when a step starts to fail and when it works again. No error ends the service."""
        try:
            yield
        except LockHeldError as held:
            self._note("lock", str(held))
        except TradehouseError as error:
            self.runner.disconnect()
            self._note(step, str(error))
        except Exception as error:
            self.runner.disconnect()
            log.debug("unexpected", exc_info=True)
            self._note(step, f"unexpected {type(error).__name__}: {error}")
        else:
            self._clear("lock", step)

    def _persistently(self, deadline: float, attempt: Callable[[], Outcome[Any]]) -> Outcome[Any]:
        """Try again until the warehouse answers and the lock is free, or the `deadline` (monotonic clock) has passed.

        The waits are random. Otherwise two services with the same tick would collide every time.
        """
        retrying = Retrying(
            retry=retry_if_exception_type((WarehouseUnavailableError, LockHeldError)),
            wait=wait_random_exponential(multiplier=0.5, max=8.0),
            stop=stop_any(stop_when_event_set(self.stop), stop_before_delay(max(0.0, deadline - time.monotonic()))),
            sleep=sleep_using_event(self.stop),
            before_sleep=self._tell_of_retry,
            reraise=True,
        )
        outcome: Outcome[Any] = retrying(attempt)
        return outcome

    def _tell_of_retry(self, state: RetryCallState) -> None:
        """Log at once that the warehouse does not answer, because the tick may try again for minutes."""
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, WarehouseUnavailableError):
            self._note("run", str(error))

    def _note(self, name: str, text: str) -> None:
        """Log a problem once, however long it lasts."""
        if self._trouble.get(name) != text:
            self._trouble[name] = text
            self.alerts.note(name, text)
            log.error("%s: %s", name, text)

    def _tell(self, troubles: Mapping[str, str], looked_at: Set[str]) -> None:
        """Log each new problem. Whatever was `looked_at` and has no problem now is cleared."""
        for name, text in troubles.items():
            self._note(name, text)
        self._clear(*(looked_at - troubles.keys()))

    def _clear(self, *names: str) -> None:
        """Log that a problem has ended, if there was one."""
        self.alerts.clear(*names)
        for name in names:
            if self._trouble.pop(name, None) is not None:
                log.info("%s: cleared", name)


class _BackgroundTests:
    """A build with every test that runs beside the ticks; a thread reads its output."""

    def __init__(self, process: DbtProcess) -> None:
        self.process = process
        self.started_at = datetime.now(timezone.utc)
        self._reader = threading.Thread(target=process.read, daemon=True)
        self._reader.start()

    @property
    def ended(self) -> bool:
        """Whether the build has ended."""
        return not self._reader.is_alive()


def serve(service: Service, log_level: str) -> None:
    """Run a service as the whole program: it logs to stderr, and SIGTERM or SIGINT ends it."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    log.setLevel(log_level)
    with stopping_on_signals(service.stop):
        service.run()
