"""How a program that runs unattended ends when asked, and restarts when it hangs."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger("tradehouse")


@contextmanager
def starting_anew_after(seconds: float) -> Iterator[None]:
    """Restart this program, with its own command line and process id, if the block takes longer than `seconds`.

    A thread that waits for an answer that never comes cannot be stopped. The restart closes all connections, and the
    server then releases their locks.
    """

    def start_anew() -> None:
        log.error("the tick has hung for %g s: restarting", seconds)
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
    """Set `stop` on the first SIGTERM or SIGINT; a second one ends the process at once, as is usual."""

    def first(number: int, _: FrameType | None) -> None:
        log.info("%s: ending after the current step; a second signal ends at once", signal.Signals(number).name)
        stop.set()
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)

    before = {each: signal.signal(each, first) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
