"""Turns for threads that read large replies, so that thirty at once do not take hundreds of megabytes."""

from __future__ import annotations

import queue
import threading
import zlib
from collections.abc import Iterator
from typing import Any

LARGE = 512 * 1024
"""Bytes from which on a reply counts as large."""


class LargeReplies:
    """Some buffers, which are allocated once: freed memory of many threads would stay with the process.

    Args:
        count: how many threads may have one at once.
        size: bytes of a buffer.
    """

    def __init__(self, count: int, size: int) -> None:
        self._size = size
        self._free: queue.Queue[bytearray] = queue.Queue()
        for _ in range(count):
            self._free.put(bytearray())
        self._held = threading.local()

    def take(self, seconds: float) -> bytearray | None:
        """This thread's buffer; it waits for one so many seconds at most, and has none then."""
        mine: bytearray | None = getattr(self._held, "buffer", None)
        if mine is None:
            try:
                mine = self._free.get(timeout=max(seconds, 0.001))
            except queue.Empty:
                return None
            if not mine:
                mine.extend(bytes(self._size))
            self._held.buffer = mine
        return mine

    def let_go(self) -> None:
        """Give the buffer back, if this thread has one."""
        mine = getattr(self._held, "buffer", None)
        if mine is not None:
            self._held.buffer = None
            self._free.put(mine)


def unpacked(raw: bytes, gzip: Any) -> Iterator[bytes | None]:
    """A piece of a body as it is, or by a decompressor a little at a time; None at damaged gzip."""
    if gzip is None:
        yield raw
        return
    try:
        while raw:
            yield gzip.decompress(raw, LARGE // 2)
            raw = gzip.unconsumed_tail
    except zlib.error:
        yield None
