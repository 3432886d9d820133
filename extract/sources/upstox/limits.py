"""Upstox's three limits of requests, kept on our side: 50 a second, 500 a minute, 2,000 in 30 minutes.

A plan that fits into what is left of the 30 minutes goes as fast as the shorter limits allow. A longer one is spread
evenly over its time, 0.9 s apart, so that other programs of the same account also get through.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from extract.rest import Pace


@dataclass(frozen=True)
class Limit:
    """At most so many requests in any span of so many seconds."""

    requests: int
    seconds: float


LIMITS = (Limit(50, 1.0), Limit(500, 60.0), Limit(2000, 1800.0))


class Limits(Pace):
    """Waits until a request keeps within every limit, by the monotonic clock.

    Args:
        ago: how many seconds ago earlier requests were sent, as far as is known.
        clock: for tests, and to say how long a plan takes without waiting.
        sleep: waits for so many seconds.
        limits: the limits.
    """

    def __init__(
        self,
        ago: Iterable[float] = (),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        limits: tuple[Limit, ...] = LIMITS,
    ) -> None:
        super().__init__(0.0, clock, sleep)
        self._limits = limits
        self._longest = limits[-1]
        self._sent: deque[float] = deque(sorted(clock() - each for each in ago), maxlen=self._longest.requests)
        self._gap = 0.0

    def expect(self, requests: int) -> None:
        """Set the pace for a plan of so many requests."""
        self._gap = self._longest.seconds / self._longest.requests if requests > self._free() else 0.0

    def wait(self, _: float = math.inf) -> None:
        """Wait for the next request's turn."""
        now = self._clock()
        turn = max([now, *(self._turn(limit) for limit in self._limits)])
        if self._gap and self._sent:
            turn = max(turn, self._sent[-1] + self._gap)
        if turn > now:
            self._sleep(turn - now)
        self._sent.append(max(turn, self._clock()))

    def seconds(self, requests: int) -> float:
        """How long a plan of so many requests takes from its first to its last, if replies took no time."""
        now = self._clock()
        virtual = _Clock()
        planned = Limits((now - each for each in self._sent), virtual.now, virtual.sleep, self._limits)
        planned.expect(requests)
        for _ in range(requests):
            planned.wait()
        return virtual.now()

    def _turn(self, limit: Limit) -> float:
        """When the limit allows the next request."""
        if len(self._sent) < limit.requests:
            return 0.0
        return self._sent[-limit.requests] + limit.seconds

    def _free(self) -> int:
        """How many requests the longest limit allows now."""
        since = self._clock() - self._longest.seconds
        return self._longest.requests - sum(each > since for each in self._sent)


class _Clock:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self._now = 0.0

    def now(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds
