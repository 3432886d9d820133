"""A load generator for one HTTP server on loopback: keep-alive connections that send one request after the other."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass
class Load:
    """What a load has shown.

    Attributes:
        seconds: from the first request to the last answer.
        latencies: seconds of each request.
        statuses: how many answers had each status.
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """The latency that this share of the answers does not exceed, in seconds."""
        return sorted(self.latencies)[min(int(len(self.latencies) * share), len(self.latencies) - 1)]


def load(port: int, path: Callable[[int], str], headers: Mapping[str, str], *, connections: int, requests: int) -> Load:
    """Send `requests` requests over `connections` connections; `path` gives the path of the n-th one."""
    return asyncio.run(_load(port, path, headers, connections, requests))


async def _load(
    port: int, path: Callable[[int], str], headers: Mapping[str, str], connections: int, requests: int
) -> Load:
    found = Load()
    numbers = iter(range(requests))
    rest = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "127.0.0.1", **headers}.items()) + "\r\n"

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            started = time.perf_counter()
            writer.write(f"GET {path(number)} HTTP/1.1\r\n{rest}".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head[9:12])
            lines = head.lower().split(b"\r\n")
            length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
            if length and status != 304:
                await reader.readexactly(length)
            found.latencies.append(time.perf_counter() - started)
            found.statuses[status] += 1
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(connections)))
    found.seconds = time.perf_counter() - started
    return found
