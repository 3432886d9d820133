"""What the fake services have in common: a real HTTP server in a process of its own, told what to do line by line.

The parent sends one JSON command a line and waits for a one-line reply.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar

ROOT = Path(__file__).resolve().parents[2]
Fake = TypeVar("Fake", bound="FakeService")


class FakeService:
    """The parent's end of a fake whose program is a module of the tests."""

    module: str

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self: Fake) -> Fake:
        self._process = subprocess.Popen(
            [sys.executable, "-m", self.module],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url = f"http://127.0.0.1:{self._reply()}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.communicate()

    def _ask(self, *command: Any) -> Any:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._reply()

    def _reply(self) -> Any:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the fake ended with exit code {self._process.wait()}"
        return json.loads(line)


# --- the child's side ------------------------------------------------------------------------


class Performer(Protocol):
    """What the child knows, and how the parent's commands change it."""

    def perform(self, name: str, *arguments: Any) -> Any:
        """Carry out a command."""


class FakeHandler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    state: Any

    def do_GET(self) -> None:
        """Answer, as the service does."""
        self.answer()

    @abstractmethod
    def answer(self) -> None:
        """Answer the request, or do not."""

    def send(self, status: int, body: str, headers: Mapping[str, str] | None = None, *, cut: bool = False) -> None:
        """Send a reply; half of it, and then hang up, if it is to be cut."""
        content = body.encode()
        self.send_response_only(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.close_connection = True

    def dribble(self, part: str) -> None:
        """Send the `headers` or the `body` of a reply for as long as anybody listens, a byte every 50 ms."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        if part == "body":
            self.wfile.write(b"Content-Length: 1000000\r\n\r\n")
        while True:
            self.wfile.write(b"X")
            time.sleep(0.05)

    def send_blanks(self, size: int, encodings: Sequence[str]) -> None:
        """Send so many blanks, compressed once for each of the encodings, which are all taken for gzip."""
        content = b" " * size
        for _ in encodings:
            content = gzip.compress(content, compresslevel=1)
        self.send_response_only(200)
        self.send_header("Content-Encoding", ", ".join(encodings))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing: stdout is for replies to commands."""


class _Server(ThreadingHTTPServer):
    """Clients that are killed in the middle of a request are what some tests are about: no word of them."""

    daemon_threads = True
    request_queue_size = 100

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass on what is a fault of the fake's own."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def serve(state: Performer, handler: type[FakeHandler]) -> None:
    """Listen on a port of its own, print its number, and obey until stdin ends."""
    server = _Server(("127.0.0.1", 0), type("Bound", (handler,), {"state": state}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    for line in sys.stdin:
        print(json.dumps(state.perform(*json.loads(line))), flush=True)
