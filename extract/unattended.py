"""What all unattended services share: a steady tick, trouble that is logged once, and an end when asked."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TypeVar

from tenacity import (
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_any,
    stop_before_delay,
    stop_when_event_set,
    wait_random_exponential,
)

from extract.errors import LockHeldError, SourceError, TransformError, WarehouseError, WarehouseUnavailableError
from extract.rest import ServiceError

log = logging.getLogger("tradehouse")

STALLED_AFTER = 3600.0
"""Seconds after which a tick is taken to hang: on a peer that keeps the connection and says nothing."""

Result = TypeVar("Result")


@dataclass(kw_only=True)
class Unattended(ABC):
    """Runs ticks until told to stop.

    Attributes:
        every: seconds from the start of one tick to the start of the next.
        stop: set it to end after the step in hand.
        stalled_after: seconds after which a tick is given up, and the process starts itself anew.
    """

    every: float
    stop: threading.Event = field(default_factory=threading.Event)
    stalled_after: float = STALLED_AFTER
    _trouble: dict[str, str] = field(default_factory=dict)

    def run(self) -> None:
        """Tick until stopped. No fault of source, warehouse or project ends it."""
        log.info("running every %g s, %s; SIGTERM ends after the step in hand", self.every, self._plan())
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
        self._disconnect()
        log.info("stopped")

    @abstractmethod
    def _plan(self) -> str:
        """What is done less often than every tick, in words."""

    @abstractmethod
    def _tick(self, started: float) -> None:
        """Do what is due; `started` is when the tick began, on the monotonic clock."""

    def _disconnect(self) -> None:  # noqa: B027 - a service that keeps no connection has nothing to do
        """Let go of connections that an error may have broken."""

    @contextmanager
    def _enduring(self, step: str) -> Iterator[None]:
        """Note what goes wrong in a step, and when it no longer does; nothing ends the service."""
        try:
            yield
        except LockHeldError as held:
            self._note("lock", str(held))
        except (ServiceError, SourceError, TransformError, WarehouseError) as error:
            self._disconnect()
            self._note(step, str(error))
        except Exception as error:
            self._disconnect()
            log.debug("unexpected", exc_info=True)
            self._note(step, f"unexpected {type(error).__name__}: {error}")
        else:
            self._clear("lock", step)

    def _persistently(self, deadline: float, attempt: Callable[[], Result]) -> Result:
        """Call until the warehouse answers and the lock is free, or the tick is over: `deadline`, monotonic clock.

        The waits are random: two services that tick at the same moments would else meet every time.
        """
        retrying = Retrying(
            retry=retry_if_exception_type((WarehouseUnavailableError, LockHeldError)),
            wait=wait_random_exponential(multiplier=0.5, max=8.0),
            stop=stop_any(stop_when_event_set(self.stop), stop_before_delay(max(0.0, deadline - time.monotonic()))),
            sleep=sleep_using_event(self.stop),
            reraise=True,
        )
        result: Result = retrying(attempt)
        return result

    def _note(self, name: str, text: str, level: int = logging.ERROR) -> None:
        """Log a trouble once, however long it lasts."""
        if self._trouble.get(name) != text:
            self._trouble[name] = text
            log.log(level, "%s: %s", name, text)

    def _tell(self, troubles: Mapping[str, str], looked_at: Set[str]) -> None:
        """Note each trouble; of what was `looked_at` without finding one, it is over."""
        for name, text in troubles.items():
            self._note(name, text)
        self._clear(*(looked_at - troubles.keys()))

    def _clear(self, *names: str) -> None:
        """Log that a trouble is over, if it was one."""
        for name in names:
            if self._trouble.pop(name, None) is not None:
                log.info("%s: cleared", name)


def serve(service: Unattended, log_level: str) -> None:
    """Run a service as the program: logs on stderr, SIGTERM and SIGINT end it."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    log.setLevel(log_level)
    with stopping_on_signals(service.stop):
        service.run()


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
