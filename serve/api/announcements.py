"""Announcements of the pipeline: LISTEN on the warehouse, and who wants to hear of it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg

from extract.settings import Project
from extract.warehouse import complaint
from serve.api.versions import MARKET, MARKET_MODELS, OHLC

log = logging.getLogger("tradehouse.api")

CHANNEL = "tradehouse_changes"
AGAIN_SECONDS = 1.0
"""Between two attempts to connect."""
QUIET_SECONDS = 20.0
"""After so long without an announcement the connection is tried."""


@dataclass(frozen=True)
class Announcement:
    """A committed tick or build.

    Attributes:
        models: what has changed; None: anything may have.
        extracted_at: ISO 8601; None where nothing was landed, or where announcements may have been missed.
    """

    models: tuple[str, ...] | None = None
    run_id: int | None = None
    source: str | None = None
    extracted_at: str | None = None

    @classmethod
    def read(cls, payload: str) -> Announcement:
        """From the payload of a NOTIFY. One that cannot be read means that anything may have changed."""
        try:
            content: dict[str, Any] = json.loads(payload)
            models = content.get("models")
            return cls(
                None if models is None else tuple(map(str, models)),
                content.get("run_id"),
                content.get("source"),
                content.get("extracted_at"),
            )
        except (ValueError, TypeError, AttributeError):
            log.warning("an announcement that cannot be read")
            return cls()

    def tables(self, project: Project) -> list[str] | None:
        """The tables of bars that have changed, as `Versions` knows them; None: any may have."""
        if self.models is None:
            return None
        tables = {*project.candle_tables, OHLC}
        changed = [model for model in self.models if model in tables]
        return changed if MARKET_MODELS.isdisjoint(self.models) else [*changed, MARKET]


class Listener:
    """Listens on a connection of its own, as long as the API runs.

    Args:
        dsn: libpq connection string.
    """

    def __init__(self, dsn: str) -> None:
        self.listening = asyncio.Event()
        """Set while announcements arrive."""
        self._dsn = dsn
        self._task: asyncio.Task[None] | None = None

    def start(self, heard: Callable[[Announcement], None]) -> None:
        """Begin to listen; the server may be away.

        Args:
            heard: called with each announcement, and after each connecting, for some may have been missed.
        """
        self._task = asyncio.create_task(self._listen_for_ever(heard))

    async def stop(self) -> None:
        """Stop listening."""
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _listen_for_ever(self, heard: Callable[[Announcement], None]) -> None:
        said = False
        while True:
            try:
                await self._listen(heard)
            except (psycopg.Error, OSError) as error:
                if self.listening.is_set() or not said:
                    log.warning("announcements are not heard: %s", complaint(error, self._dsn))
                    said = True
            self.listening.clear()
            await asyncio.sleep(AGAIN_SECONDS)

    async def _listen(self, heard: Callable[[Announcement], None]) -> None:
        connection = await psycopg.AsyncConnection.connect(
            self._dsn, autocommit=True, application_name="tradehouse api listener", connect_timeout=3
        )
        async with connection:
            await connection.execute(f"listen {CHANNEL}".encode())
            heard(Announcement())  # whatever was announced before
            self.listening.set()
            while True:
                async for notify in connection.notifies(timeout=QUIET_SECONDS):
                    heard(Announcement.read(notify.payload))
                await asyncio.wait_for(connection.execute(b"select 1"), QUIET_SECONDS)
