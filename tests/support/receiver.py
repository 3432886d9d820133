"""A receiver of alerts: a real HTTP server on loopback that takes what Apprise's `json://` posts, or does not."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from tests.support.servers import free_port

TOKEN = "t0kenOfTheReceiverThatNobodyMaySee"


@dataclass(frozen=True)
class Post:
    """A message that came in; `type` is Apprise's: `warning` for a trouble, `success` for its end."""

    title: str
    body: str
    type: str


class Receiver:
    """Context manager: listens until its end; `stop` and `start` take it away and bring it back on the same port."""

    def __init__(self, *, started: bool = True) -> None:
        self.posts: list[Post] = []
        """Messages it has taken."""
        self.tries = 0
        """Messages that came in, taken or not."""
        self.status = 200
        """What it answers; it has taken nothing unless this is 200."""
        self.hangs = False
        """Whether it leaves the sender without an answer."""
        self._port = free_port()
        self._server: ThreadingHTTPServer | None = None
        self._released = threading.Event()
        if started:
            self.start()

    @property
    def url(self) -> str:
        """Its address as Apprise wants it, with a secret."""
        return f"json://127.0.0.1:{self._port}/{TOKEN}"

    def start(self) -> None:
        """Listen."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.tries += 1
                if receiver.hangs:
                    receiver._released.wait()
                    return
                if receiver.status == 200 and self.path == f"/{TOKEN}":
                    receiver.posts.append(Post(content["title"], content["message"], content["type"]))
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Refuse connections."""
        self._released.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Receiver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
