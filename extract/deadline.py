"""A wall-clock limit for a whole HTTP exchange: connecting, the headers and the body of its reply.

The timeouts of httpx start again with every byte, so a server that sends one byte a second never times out. Here every
wait on a socket is limited to the time that is left.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from typing import Any

import httpcore
import httpx

_end: ContextVar[float] = ContextVar("end", default=inf)


@contextmanager
def ending_at(moment: float) -> Iterator[None]:
    """Limit the requests of this thread inside the block to end by a moment of the monotonic clock."""
    token = _end.set(moment)
    try:
        yield
    finally:
        _end.reset(token)


def limited(client: httpx.Client) -> httpx.Client:
    """Make the client's waits obey `ending_at`; return the client.

    httpx has no public way to set a network backend, and with a transport of our own it would ignore the proxies in the
    environment. So this sets the backend on the pools that httpx has made, including those of proxies.
    """
    for transport in (client._transport, *client._mounts.values()):
        if isinstance(transport, httpx.HTTPTransport):
            transport._pool._network_backend = _Backend()
    return client


def _left(timeout: float | None, late: type[httpcore.TimeoutException]) -> float | None:
    """The smaller of the timeout and the time that is left, in seconds; None is no limit."""
    left = _end.get() - time.monotonic()
    if left <= 0:
        raise late("timed out")
    least = min(left, inf if timeout is None else timeout)
    return None if least == inf else least


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        # Python counts the whole handshake against the one timeout
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, _left(timeout, httpcore.ConnectTimeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.SyncBackend):
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Try the addresses of a host in turn, each with the time that is left."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for *_, address in found:
            left = _left(timeout, httpcore.ConnectTimeout)
            try:
                return _Stream(super().connect_tcp(str(address[0]), port, left, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure
