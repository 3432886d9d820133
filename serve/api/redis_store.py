"""Redis or Valkey, where there is one: answers and rate limits that several API processes share.

Nothing depends on it. While it is away or slow, answers come from memory or from the warehouse.
"""

from __future__ import annotations

import asyncio
import logging
import time
import zlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

Result = TypeVar("Result")
log = logging.getLogger("tradehouse.api")

LIMIT_SECONDS = 0.05
"""The longest an answer waits for Redis."""
PAUSE_SECONDS = 1.0
"""After Redis failed, for so long nobody asks it."""
KEEP_SECONDS = 86_400
"""How long Redis keeps an answer nobody asks for."""
CONNECTIONS = 16
"""Requests beyond these wait for one of them, within the limit."""
PREFIX = "tradehouse:"
GENERATION = f"{PREFIX}generation"
"""Counts how often the cache was cleared; an answer of an earlier generation is none."""


class RedisAwayError(Exception):
    """Redis is away, slow or full."""


class RedisStore:
    """Answers in Redis, and scripts for the rate limits.

    Args:
        url: redis://, rediss:// or unix://.
        clock: monotonic seconds.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.errors = 0
        """How often Redis failed."""
        self.generation = b""
        self._clock = clock
        self._away_until = 0.0
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            url,
            timeout=LIMIT_SECONDS,
            socket_timeout=LIMIT_SECONDS,
            socket_connect_timeout=LIMIT_SECONDS,
            retry=Retry(NoBackoff(), 0),
            max_connections=CONNECTIONS,
            client_name="tradehouse-api",
        )
        self._client: Any = redis.asyncio.Redis.from_pool(pool)

    async def get(self, key: str) -> bytes | None:
        """What is stored under the key in this generation; None where that is not whole.

        Raises:
            RedisAwayError: Redis is away or slow.
        """
        generation, found = await self.run(lambda client: client.mget(GENERATION, f"{PREFIX}answer:{key}"))
        self.generation = generation or b"0"
        if found is None:
            return None
        stored_in, _, summed = bytes(found).partition(b" ")
        sum_, _, content = summed.partition(b" ")
        return content if stored_in == self.generation and sum_ == _sum_of(content) else None

    async def put(self, key: str, content: bytes) -> None:
        """Store under the key; raises as `get`, also where Redis is full."""
        stored = b" ".join((self.generation or b"0", _sum_of(content), content))
        await self.run(lambda client: client.set(f"{PREFIX}answer:{key}", stored, ex=KEEP_SECONDS))

    async def clear(self) -> None:
        """Let no answer count that is stored now; raises as `get`."""
        self.generation = str(await self.run(lambda client: client.incr(GENERATION))).encode()

    async def ping(self) -> None:
        """Raise RedisAwayError where Redis does not answer."""
        await self.run(lambda client: client.ping())

    async def run(self, work: Callable[[Any], Awaitable[Result]]) -> Result:
        """Do something with the client, within the limit of time; raises as `get`."""
        if self._clock() < self._away_until:
            raise RedisAwayError
        try:
            return await asyncio.wait_for(work(self._client), LIMIT_SECONDS)
        except ResponseError as error:  # it answers, but not with what was asked for: full, or a replica
            self.errors += 1
            log.warning("Redis: %s", error)
            raise RedisAwayError from None
        except (RedisError, OSError, asyncio.TimeoutError) as error:
            self.errors += 1
            self._away_until = self._clock() + PAUSE_SECONDS
            log.warning("Redis does not answer within %.0f ms: %s", LIMIT_SECONDS * 1000, type(error).__name__)
            raise RedisAwayError from None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _sum_of(content: bytes) -> bytes:
    """A checksum: other programs can write to this Redis, too, and half an answer must not reach a client."""
    return b"%08x" % zlib.crc32(content)
