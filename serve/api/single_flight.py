"""Work that several callers want at the same time and that is done once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class SingleFlight(Generic[Result]):
    """Runs one piece of work per key at a time; whoever asks meanwhile waits for it and shares its result or error."""

    def __init__(self) -> None:
        self._flights: dict[str, asyncio.Future[Result]] = {}

    async def run(self, key: str, work: Callable[[], Awaitable[Result]]) -> Result:
        """The result of the work with this key; a caller that gives up does not stop it for the others."""
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.ensure_future(work())
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._land(key, done))
        return await asyncio.shield(flight)

    def __contains__(self, key: str) -> bool:
        """Whether the work with this key is being done."""
        return key in self._flights

    def _land(self, key: str, flight: asyncio.Future[Result]) -> None:
        del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # every caller may have given up, and then nobody else looks at the error
