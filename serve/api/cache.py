"""The cache of answers: each entry says of which version it is, and is good as long as its tables have that version.

An entry has one place for all versions of an answer. So the last good answer is always there while the warehouse is
away, and nothing has to be deleted.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from serve.api.database import Database, Query
from serve.api.errors import UnavailableError, no_data
from serve.api.redis_store import RedisAwayError, RedisStore
from serve.api.single_flight import SingleFlight
from serve.api.versions import Versions

log = logging.getLogger("tradehouse.api")

HOT_SECONDS = 300.0
"""An answer asked for within this time is built again as soon as its tables have changed."""
HOT_ANSWERS = 500
REBUILDS_AT_ONCE = 2
LEVEL = 1
"""Of gzip: 1.4 ms for 1,000 bars, where level 6 takes 10.7 ms for a fifth less."""
DATA_SOURCE = re.compile(rb'("data_source"\s*:\s*)"postgresql"')


@dataclass(frozen=True)
class Question:
    """What an answer is made of.

    Attributes:
        key: names the question and the tier; the same for all versions.
        tables: those the answer is read from, as `Versions` knows them.
        sql: returns one JSON value, or NULL where there is no data.
        parameters: of the statement.
        subject: what there is no data for, in words.
        follows: whether the answer is of the newest data, so that it is worth building again when that changes.
    """

    key: str
    tables: tuple[str, ...]
    sql: Query
    parameters: tuple[Any, ...]
    subject: str
    follows: bool = True

    def etag(self, version: str) -> str:
        """The entity tag of the answer of this version; weak, for the bytes differ by encoding."""
        return f'W/"{hashlib.sha256(f"{self.key} {version}".encode()).hexdigest()[:24]}"'


@dataclass(frozen=True)
class Answer:
    """A JSON answer, compressed.

    Attributes:
        compressed: gzip of the JSON.
        version: of the tables.
        outcome: `hit`, `miss`, or `stale` where the warehouse is away and it may be out of date.
    """

    compressed: bytes
    version: str
    outcome: str


@dataclass
class Counters:
    """What became of the questions since the start."""

    hits: int = 0
    misses: int = 0
    stale: int = 0
    rebuilt: int = 0
    """Answers built because their tables had changed, and that nobody had asked for yet."""


class Cache:
    """Answers questions from memory, from Redis or from the warehouse, in this order.

    Args:
        database: where answers are built.
        versions: of the tables.
        redis: shared by several processes, or None.
        memory_bytes: the most compressed bytes kept in this process.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        database: Database,
        versions: Versions,
        redis: RedisStore | None,
        memory_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counters = Counters()
        self._database = database
        self._versions = versions
        self._redis = redis
        self._most_bytes = memory_bytes
        self._clock = clock
        self._kept: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self.memory_bytes = 0
        self._flights: SingleFlight[Answer] = SingleFlight()
        self._asked: OrderedDict[str, tuple[Question, float]] = OrderedDict()

    async def version(self, question: Question) -> str | None:
        """The version an answer would have; None while the warehouse is away."""
        try:
            return await self._versions.of(question.tables)
        except UnavailableError:
            return None

    async def answer(self, question: Question) -> Answer:
        """The answer to a question.

        Raises:
            ApiError: 404 where there is no data, 503 where the warehouse is away and no earlier answer is kept.
        """
        self._note(question)
        try:
            version = await self._versions.of(question.tables)
            answer = self._from_memory(question, version) or await self._fly(question, version)
        except UnavailableError:
            kept = await self._last_good(question)
            if kept is None:
                raise
            self.counters.stale += 1
            version, compressed = kept
            body = gzip.decompress(compressed).lstrip()
            return Answer(gzip.compress(b'{"stale": true, ' + body[1:], LEVEL), version, "stale")
        if answer.outcome == "hit":
            self.counters.hits += 1
        else:
            self.counters.misses += 1
        return answer

    async def rebuild(self, changed: Iterable[str] | None) -> None:
        """Build the answers again that were asked for lately and whose tables have changed; None: any may have."""
        tables = None if changed is None else set(changed)
        oldest = self._clock() - HOT_SECONDS
        places = asyncio.Semaphore(REBUILDS_AT_ONCE)

        async def build(question: Question) -> None:
            async with places:
                try:
                    version = await self._versions.of(question.tables)
                    if self._from_memory(question, version) or self._flight(question, version) in self._flights:
                        return  # a request has built it, or does
                    if (await self._fly(question, version)).outcome == "miss":
                        self.counters.rebuilt += 1
                except Exception as error:  # whoever asks next is told
                    log.debug("not rebuilt: %s: %s", question.key, error)

        await asyncio.gather(
            *(
                build(question)
                for question, asked_at in list(self._asked.values())
                if asked_at > oldest and (tables is None or not tables.isdisjoint(question.tables))
            )
        )

    async def clear(self) -> None:
        """Forget all answers and versions, of this process and in Redis.

        Raises:
            RedisAwayError: what is in Redis is still there.
        """
        self._clear_memory()
        self._versions.forget(None)
        if self._redis:
            await self._redis.clear()

    def _clear_memory(self) -> None:
        self._kept.clear()
        self.memory_bytes = 0

    def _flight(self, question: Question, version: str) -> str:
        return f"{question.key} {version}"

    async def _fly(self, question: Question, version: str) -> Answer:
        flight = self._flight(question, version)
        return await self._flights.run(flight, lambda: self._find_or_build(question, version))

    async def _find_or_build(self, question: Question, version: str) -> Answer:
        shared = await self._from_redis(question)
        if shared and shared[0] == version:
            self._keep(question, *shared)
            return Answer(shared[1], version, "hit")
        body: bytes | None = await self._database.value(question.sql, question.parameters)
        if body is None:
            raise no_data(question.subject)
        cached, marked = DATA_SOURCE.subn(rb'\1"cache"', body, count=1)
        kept = gzip.compress(cached, LEVEL)
        self._keep(question, version, kept)
        if self._redis:
            with suppress(RedisAwayError):
                await self._redis.put(question.key, version.encode() + b"\n" + kept)
        return Answer(gzip.compress(body, LEVEL) if marked else kept, version, "miss")

    async def _from_redis(self, question: Question) -> tuple[str, bytes] | None:
        if self._redis is None:
            return None
        generation = self._redis.generation
        try:
            found = await self._redis.get(question.key)
        except RedisAwayError:
            return None
        if generation not in (b"", self._redis.generation):  # another process has cleared the cache
            self._clear_memory()
        if found is None:
            return None
        version, _, compressed = found.partition(b"\n")
        return version.decode(), compressed

    async def _last_good(self, question: Question) -> tuple[str, bytes] | None:
        return self._kept.get(question.key) or await self._from_redis(question)

    def _from_memory(self, question: Question, version: str) -> Answer | None:
        kept = self._kept.get(question.key)
        if kept is None or kept[0] != version:
            return None
        self._kept.move_to_end(question.key)
        return Answer(kept[1], version, "hit")

    def _keep(self, question: Question, version: str, compressed: bytes) -> None:
        before = self._kept.pop(question.key, None)
        self.memory_bytes += len(compressed) - (len(before[1]) if before else 0)
        self._kept[question.key] = (version, compressed)
        while self.memory_bytes > self._most_bytes and self._kept:
            _, (_, dropped) = self._kept.popitem(last=False)
            self.memory_bytes -= len(dropped)

    def _note(self, question: Question) -> None:
        if not question.follows:
            return
        self._asked[question.key] = (question, self._clock())
        self._asked.move_to_end(question.key)
        if len(self._asked) > HOT_ANSWERS:
            self._asked.popitem(last=False)
