"""Server-sent events: one event per committed tick, with the changed tables the caller may see."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from extract.settings import Project
from serve.api.announcements import Announcement
from serve.api.errors import NO_STORE, RETRY_AFTER, ApiError

QUEUE_LENGTH = 32
"""Events that wait for a slow client; with one more it is cut off."""
SEND_SECONDS = 20.0
"""A client that takes nothing for so long is cut off."""
CHECK_SECONDS = 2.0
"""How often a stream asks whether its caller's key still holds."""
HEARTBEAT_SECONDS = 14.0
HEADERS = NO_STORE | {"X-Accel-Buffering": "no"}


class Subscription:
    """A client's events, from the announcement to the wire.

    Args:
        tables: (symbol, timeframe) by table, of what the client wants and may see.
        caller: whose streams are counted together.
    """

    def __init__(self, tables: dict[str, tuple[str, str]], caller: str) -> None:
        self.tables = tables
        self.caller = caller
        self.closed = asyncio.Event()
        self.waiting: asyncio.Queue[bytes] = asyncio.Queue(QUEUE_LENGTH)

    def offer(self, announcement: Announcement, changed: Sequence[str] | None) -> None:
        """Queue an event if it concerns the client; cut the client off where too many wait."""
        concerned = [table for table in self.tables if changed is None or table in changed]
        if not concerned:
            return
        content = {
            "run_id": announcement.run_id,
            "source": announcement.source,
            "extracted_at": announcement.extracted_at,
            "tables": [{"symbol": self.tables[each][0], "timeframe": self.tables[each][1]} for each in concerned],
        }
        number = f"id: {announcement.extracted_at}\n" if announcement.extracted_at else ""
        try:
            self.waiting.put_nowait(f"{number}event: changes\ndata: {json.dumps(content)}\n\n".encode())
        except asyncio.QueueFull:
            self.closed.set()

    def offer_first(self, announcement: Announcement, changed: Sequence[str]) -> None:
        """Queue an event before those that wait already: they are newer."""
        newer = [self.waiting.get_nowait() for _ in range(self.waiting.qsize())]
        self.offer(announcement, changed)
        for event in newer[: QUEUE_LENGTH - 1]:
            self.waiting.put_nowait(event)


class Hub:
    """All open streams of the process.

    Args:
        limit: the most of them.
        per_caller: the most of one caller.
    """

    def __init__(self, limit: int, per_caller: int) -> None:
        self._limit = limit
        self._per_caller = per_caller
        self._open: set[Subscription] = set()
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self.cut = 0
        """Clients cut off because they were too slow."""

    def __len__(self) -> int:
        return len(self._open)

    def add(self, subscription: Subscription) -> None:
        """Let a client listen.

        Raises:
            ApiError: 429 where the caller, 503 where the process has as many streams as it may.
        """
        if Counter(each.caller for each in self._open)[subscription.caller] >= self._per_caller:
            raise ApiError(429, f"{self._per_caller} open streams are allowed; close one first", RETRY_AFTER)
        if self._closing or len(self._open) >= self._limit:
            raise ApiError(503, "too many open streams; try again in a moment", RETRY_AFTER)
        self._open.add(subscription)

    def remove(self, subscription: Subscription) -> None:
        """The client is gone."""
        self._open.discard(subscription)

    def publish(self, announcement: Announcement, project: Project) -> None:
        """Tell every client that is concerned."""
        changed = announcement.tables(project)
        for subscription in self._open:
            subscription.offer(announcement, changed)

    def close(self) -> None:
        """End all streams: the server is about to stop. A signal handler or another thread may call this."""
        self._closing = True
        self._loop.call_soon_threadsafe(self._end_all)

    def _end_all(self) -> None:
        for subscription in self._open:
            subscription.closed.set()


class EventStream(Response):
    """The answer of `/api/stream`, open until the client goes, is too slow or loses its key.

    Args:
        hub: has the subscription already.
        subscription: of this client.
        still_allowed: asked every few seconds; raises ApiError where the caller may no longer listen.
    """

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, subscription: Subscription, still_allowed: Callable[[], Awaitable[object]]) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._hub = hub
        self._subscription = subscription
        self._still_allowed = still_allowed
        self._ended = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send events until one of the parts has ended."""
        parts = [
            asyncio.create_task(part)
            for part in (self._send(send), self._watch(receive), self._check(), self._subscription.closed.wait())
        ]
        try:
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._hub.remove(self._subscription)
            self._ended = True
            if self._subscription.waiting.full():
                self._hub.cut += 1
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
        with suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(send({"type": "http.response.body", "body": b""}), 1)

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        content = b"retry: 3000\n\n"
        while not self._ended:  # before Python 3.12 `wait_for` can lose a cancellation
            message = {"type": "http.response.body", "body": content, "more_body": True}
            await asyncio.wait_for(send(message), SEND_SECONDS)
            try:
                content = await asyncio.wait_for(self._subscription.waiting.get(), HEARTBEAT_SECONDS)
            except asyncio.TimeoutError:
                content = b": still here\n\n"

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await self._still_allowed()
            except ApiError as error:
                if error.status != 503:
                    return


def resumed_at(last_event_id: str | None) -> datetime | None:
    """The moment after which a client has missed events; None where it has missed none.

    Raises:
        ApiError: 400 where the id is none of ours.
    """
    if not last_event_id:
        return None
    try:
        moment = datetime.fromisoformat(last_event_id)
        moment.timestamp()
    except (ValueError, OverflowError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ApiError(400, "Last-Event-ID: expected the id of an event, such as 2026-01-05T10:05:31.123456+00:00")
    return moment
