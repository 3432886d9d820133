"""A TCP proxy on loopback that fails the way networks do."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType
from typing import Literal
from urllib.parse import quote

import psycopg2.extensions

Fault = Literal["close", "reset", "stall"]

NO_LINGER = struct.pack("ii", 1, 0)
"""SO_LINGER of no seconds: `close` sends a reset, and what was not sent yet is lost."""


class Proxy:
    """Context manager: forwards connections to a server, usually a Postgres, until told to fail.

    A close or a reset strikes all connections there are, once; later ones are forwarded again. A stall holds
    everything, later connections too, until `mend`.

    Args:
        uri: libpq URI of a Postgres, on TCP or a Unix socket; of any other server `host=… port=…`.
    """

    def __init__(self, uri: str) -> None:
        self._server = psycopg2.extensions.parse_dsn(uri)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._fault: Fault | None = None
        self._bytes_left = 0
        self._flowing = threading.Event()
        self._flowing.set()
        self.forwarded = 0
        """Bytes passed on so far, both directions of all connections together."""
        self.struck = 0
        """How many faults have struck."""

    @property
    def port(self) -> int:
        """Where the proxy listens, on loopback."""
        return int(self._listener.getsockname()[1])

    @property
    def uri(self) -> str:
        """The Postgres' URI, by way of the proxy."""
        login = ":".join(quote(self._server[name], safe="") for name in ("user", "password") if name in self._server)
        tls = f"?sslmode={self._server['sslmode']}" if "sslmode" in self._server else ""
        return f"postgresql://{login}@127.0.0.1:{self.port}/{self._server['dbname']}{tls}"

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # wakes the accepting thread
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.mend()
        self._break("close")

    def fail_after(self, count: int, fault: Fault) -> None:
        """Let `count` more bytes pass, then fail."""
        with self._lock:
            self._fault, self._bytes_left = fault, count

    def mend(self) -> None:
        """Let everything pass again; a fault that has not struck yet is taken back."""
        with self._lock:
            self._fault = None
        self._flowing.set()

    def reset(self) -> None:
        """Reset all connections there are, at once."""
        self._break("reset")

    def _accept(self) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                client, _ = self._listener.accept()
                try:
                    server = self._connect()
                except OSError:
                    client.close()
                    continue
                with self._lock:
                    self._sockets += [client, server]
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _connect(self) -> socket.socket:
        host, port = self._server["host"], self._server.get("port", "5432")
        if not host.startswith("/"):
            return socket.create_connection((host, int(port)))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while content := source.recv(65_536):
                self._flowing.wait()
                passed, fault = self._meter(len(content))
                sink.sendall(content[:passed])
                if fault == "stall":
                    self._flowing.wait()
                    sink.sendall(content[passed:])
                elif fault is not None:
                    self._break(fault)
        for end in (source, sink):
            _close(end)

    def _meter(self, length: int) -> tuple[int, Fault | None]:
        """How many of so many bytes may pass, and the fault that strikes after them."""
        with self._lock:
            fault = self._fault
            if fault is None or self._bytes_left > length:
                self._bytes_left -= length
                self.forwarded += length
                return length, None
            self.forwarded += self._bytes_left
            self.struck += 1
            self._fault = None
            if fault == "stall":
                self._flowing.clear()
            return self._bytes_left, fault

    def _break(self, fault: Fault) -> None:
        with self._lock:
            broken, self._sockets = self._sockets, []
        for end in broken:
            with suppress(OSError):
                if fault == "reset":
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
                    end.shutdown(socket.SHUT_RD)  # wakes its pump and sends nothing; the pump's close resets
            if fault == "close":
                _close(end)


def _close(end: socket.socket) -> None:
    with suppress(OSError):
        if end.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(NO_LINGER)) != NO_LINGER:
            end.shutdown(socket.SHUT_RDWR)  # wakes its pump
    end.close()
