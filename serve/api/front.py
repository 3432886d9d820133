"""What every request passes first: paths in any case, one log line, its seconds, and no internals in a failure."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from extract.quoting import printable
from serve.api.errors import ApiError

log = logging.getLogger("tradehouse.api")


class Front:
    """Wraps the application.

    A log line has method, path, status and milliseconds. It has no query and no header, for either may hold a key.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        path = scope["path"]
        routed = {**scope, "path": path.lower()}
        status = 0

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                scope["app"].state.metrics.answered(routed, status, time.perf_counter() - started)
            await send(message)

        try:
            await self._app(routed, receive, note)
        except Exception as error:
            log.exception("a fault of ours: %s", type(error).__name__)
            if status:
                raise
            await ApiError(500, "an internal error; the server's log says more").response()(scope, receive, note)
        finally:
            spent = (time.perf_counter() - started) * 1000
            log.info("%s %s %s %.1f ms", scope["method"], printable(path[:200]), status or "-", spent)
