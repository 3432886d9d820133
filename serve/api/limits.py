"""Rate limits: a sliding window of an hour per caller, in Redis where there is one, else in memory."""

from __future__ import annotations

import math
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from serve.api.errors import ApiError
from serve.api.redis_store import PREFIX, RedisAwayError, RedisStore

WINDOW = 3600.0
"""Seconds."""
CALLERS_REMEMBERED = 20_000

# One list of moments per caller, by Redis' own clock. Returns how many there are and the oldest, both after this
# request; the count is one more than the limit where the request is one too many and was not added.
SCRIPT = """
local t = redis.call('TIME')
local now = t[1] + t[2] / 1000000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
local count = redis.call('ZCARD', KEYS[1]) + 1
if count <= tonumber(ARGV[1]) then
    redis.call('ZADD', KEYS[1], now, ARGV[3])
    redis.call('EXPIRE', KEYS[1], math.ceil(tonumber(ARGV[2])))
end
local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return {count, tostring(now - (oldest[2] or now))}
"""


@dataclass(frozen=True)
class Allowance:
    """What is left of a caller's hour.

    Attributes:
        limit: requests within any hour.
        count: requests of the last hour, this one included.
        frees_in: seconds until the oldest of them no longer counts.
    """

    limit: int
    count: int
    frees_in: float

    @property
    def headers(self) -> dict[str, str]:
        """X-RateLimit-Limit, -Remaining, and -Reset: the Unix second at which the oldest request no longer counts."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(self.limit - self.count, 0)),
            "X-RateLimit-Reset": str(math.ceil(time.time() + self.frees_in)),
        }


class Limiter:
    """Counts requests.

    Args:
        redis: where several processes count together, or None.
        clock: monotonic seconds.
    """

    def __init__(self, redis: RedisStore | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._clock = clock
        self._moments: dict[str, deque[float]] = {}

    async def take(self, caller: str, limit: int) -> Allowance:
        """Count a request of the caller.

        Raises:
            ApiError: 429 where it is one too many; it is not counted then.
        """
        allowance = await self._count_in_redis(caller, limit) or self._count_here(caller, limit)
        if allowance.count > limit:
            wait = max(math.ceil(allowance.frees_in), 1)
            headers = allowance.headers | {"Retry-After": str(wait)}
            raise ApiError(429, f"{limit} requests an hour are allowed; try again in {wait} seconds", headers)
        return allowance

    async def _count_in_redis(self, caller: str, limit: int) -> Allowance | None:
        if self._redis is None:
            return None
        arguments = (1, f"{PREFIX}limit:{caller}", limit, WINDOW, uuid.uuid4().hex)
        try:
            count, age = await self._redis.run(lambda client: client.eval(SCRIPT, *arguments))
        except RedisAwayError:
            return None
        return Allowance(limit, int(count), WINDOW - float(age))

    def _count_here(self, caller: str, limit: int) -> Allowance:
        now = self._clock()
        if caller not in self._moments and len(self._moments) >= CALLERS_REMEMBERED:
            self._forget_idle(now)
        moments = self._moments.setdefault(caller, deque())
        while moments and moments[0] <= now - WINDOW:
            moments.popleft()
        count = len(moments) + 1
        if count <= limit:
            moments.append(now)
        return Allowance(limit, count, WINDOW - (now - moments[0]) if moments else WINDOW)

    def _forget_idle(self, now: float) -> None:
        """Forget callers without a request within the hour, or all of them where there is none."""
        self._moments = {caller: seen for caller, seen in self._moments.items() if seen and seen[-1] > now - WINDOW}
        if len(self._moments) >= CALLERS_REMEMBERED:
            self._moments.clear()
