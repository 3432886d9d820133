"""HTTP requests to any API: paced, limited in time and size, retried, and with no secret in an error.

Each API's own module interprets the replies; this module holds what they share.
"""

from __future__ import annotations

import json
import math
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_attempt,
    stop_any,
    stop_when_event_set,
    wait_exponential,
    wait_random,
)

from extract.deadline import ending_at, limited
from extract.errors import SettingsError, SourceError
from extract.large_replies import LARGE, LargeReplies, unpacked
from extract.settings import LOOPBACK

Answer = TypeVar("Answer")

LONGEST_WAIT = 120.0
"""The longest wait in seconds between two attempts, even if an API asks for more."""
BACKOFF = wait_exponential(multiplier=0.5, max=30.0) + wait_random(0, 1)


class ServiceError(SourceError):
    """An API cannot be used. The message is one line that says what to do and holds no secret."""


class UnavailableError(ServiceError):
    """No reply, or an invalid one; the next attempt may succeed.

    Attributes:
        wait: seconds the API asks to wait before the next request; None if it does not say.
        reply: the reply, if there was one.
        is_connecting: whether no connection could be made.
    """

    def __init__(
        self, message: str, wait: float | None = None, reply: Reply | None = None, is_connecting: bool = False
    ) -> None:
        super().__init__(message)
        self.wait = wait
        self.reply = reply
        self.is_connecting = is_connecting


@dataclass(frozen=True)
class Bounds:
    """Limits of time, size and attempts.

    Attributes:
        silence: seconds without a byte after which a reply is given up; connecting may take at most ten.
        reply: seconds a whole reply may take: connecting, headers and body.
        size: bytes of a reply, before and after decompression.
        attempts: how often one request is tried.
    """

    silence: float = 30.0
    reply: float = 120.0
    size: int = 32 * 1024 * 1024
    attempts: int = 8  # with some 65 seconds of waiting between them


@dataclass(frozen=True)
class Reply:
    """A reply: 2xx, or a 4xx other than 429."""

    status: int
    headers: Mapping[str, str]  # names in any case
    body: bytes

    def json(self) -> Any:
        """The body as JSON, parsed once. NaN and Infinity are accepted here; Postgres rejects them item by item.

        Raises:
            UnavailableError: it is not JSON; a proxy may have answered, or the API may have crashed.
        """
        return self._parsed

    @cached_property
    def _parsed(self) -> Any:
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise UnavailableError(f"a reply is not JSON (HTTP {self.status}, {len(self.body):,} bytes)") from None


class Pace:
    """Keeps requests at least so many seconds apart, by the monotonic clock."""

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._sleep = sleep
        self._next = clock()
        self._lock = threading.Lock()

    def wait(self, deadline: float = math.inf) -> None:
        """Wait for the next request's turn; several threads take turns. A turn after the deadline is not waited for."""
        with self._lock:
            turn = max(self._next, self._clock())
            if turn > deadline:
                return
            self._next = turn + self._seconds
        ahead = turn - self._clock()
        if ahead > 0:
            self._sleep(ahead)


class HttpClient:
    """Sends signed or unsigned GET requests to one API.

    Args:
        address: such as https://host.
        pace: shared by all requests and all their attempts.
        secrets: texts that are masked in errors.
        bounds: the limits of each request.
        stop: when set, waits end and nothing is tried again.
        sleep: waits for so many seconds; for tests. By default the wait ends when `stop` is set.
        large_at_once: how many threads may hold a reply of more than LARGE bytes, until they `let_go` of it; None: any.
        ca_file: certificates of a private authority, beside which no other is trusted.

    Raises:
        SettingsError: the file has no certificates.
    """

    def __init__(
        self,
        address: str,
        pace: Pace,
        secrets: Iterable[SecretStr] = (),
        bounds: Bounds | None = None,
        stop: threading.Event | None = None,
        sleep: Callable[[float], None] | None = None,
        ca_file: Path | None = None,
        large_at_once: int | None = None,
    ) -> None:
        self.address = address
        self._pace = pace
        self._secrets = tuple(secrets)
        self._stop = stop or threading.Event()
        self._sleep = sleep or sleep_using_event(self._stop)
        self._bounds = bounds or Bounds()
        self._large = None if large_at_once is None else LargeReplies(large_at_once, self._bounds.size)
        # what goes to this machine itself must not take a way over a proxy, which could read it
        is_here = urlsplit(address).hostname in LOOPBACK
        self._client = limited(
            httpx.Client(
                follow_redirects=False,
                headers={"Accept-Encoding": "gzip"},
                trust_env=not is_here,
                verify=True if ca_file is None else _trusting(ca_file),
            )
        )

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(
        self,
        target: str,
        headers: Callable[[str], Mapping[str, str]] = lambda _: {},
        deadline: float = math.inf,
    ) -> Reply:
        """Send one request, once.

        Args:
            target: path and query; parts that are already percent-encoded stay as they are.
            headers: makes the headers from the exact query string, at the moment of sending.
            deadline: the latest time for the whole reply, on the monotonic clock.

        Raises:
            UnavailableError: no whole reply in time, or a reply with 429 or 5xx.
            ServiceError: a reply that no further attempt would change.
        """
        self._pace.wait(deadline)
        seconds = min(self._bounds.reply, deadline - time.monotonic())
        silence = min(self._bounds.silence, seconds)
        if seconds <= 0:
            raise UnavailableError(f"there is no time left to ask {self.address}")
        timeout = httpx.Timeout(silence, connect=min(10.0, silence))
        request = self._client.build_request("GET", self.address + target, timeout=timeout)
        request.headers.update(headers(request.url.query.decode("ascii")))
        end = time.monotonic() + seconds
        try:
            with ending_at(end):
                response = self._client.send(request, stream=True)
                try:
                    body = self._read(response, end)
                finally:
                    response.close()
        except httpx.HTTPError as error:
            if isinstance(error, httpx.TimeoutException) and time.monotonic() >= end:
                raise UnavailableError(f"{self.address} gives no whole reply within {seconds:.3g} s") from None
            reason = self.masked(str(error)) or type(error).__name__
            connecting = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError)
            raise UnavailableError(f"{self.address} does not answer: {reason}", is_connecting=connecting) from None
        reply = Reply(response.status_code, response.headers, body)
        if reply.status == 429 or reply.status >= 500:
            wait = _seconds(reply.headers.get("retry-after"))
            raise UnavailableError(f"{self.address} answers HTTP {reply.status}", wait, reply)
        if 300 <= reply.status < 400:
            raise ServiceError(f"{self.address} redirects to another address (HTTP {reply.status})")
        return reply

    def let_go(self) -> None:
        """Let another thread hold a large reply: this one has done with its own."""
        if self._large is not None:
            self._large.let_go()

    def _read(self, response: httpx.Response, end: float) -> bytes:
        """The body, decompressed piece by piece, so that it never takes more memory than the size limit."""
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip"):
            words = self.masked(encoding)
            raise ServiceError(f"{self.address} answers with Content-Encoding {words}; tradehouse asked for gzip")
        gzip = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
        body = bytearray()
        length = received = 0
        for raw in response.iter_raw():
            received += len(raw)
            for piece in unpacked(raw, gzip):
                if piece is None:
                    raise UnavailableError(f"{self.address} answers with damaged gzip")
                if max(received, length + len(piece)) > self._bounds.size:
                    raise ServiceError(f"{self.address} answers with more than {self._bounds.size:,} bytes")
                if self._large is not None and length <= LARGE < length + len(piece):
                    buffer = self._large.take(end - time.monotonic())
                    if buffer is None:
                        raise UnavailableError(f"{self.address} sends too many large replies at once")
                    buffer[:length] = body
                    body = buffer
                body[length : length + len(piece)] = piece
                length += len(piece)
        if gzip and received and (gzip.unused_data or not gzip.eof):
            raise UnavailableError(f"{self.address} answers with damaged gzip")
        return bytes(memoryview(body)[:length])

    def retrying(self, attempt: Callable[[], Answer], deadline: float = math.inf) -> Answer:
        """Call `attempt` until it raises no `UnavailableError`; after the last attempt, raise its error.

        The wait between attempts is as long as the API asks for, else exponential with jitter. If a wait would end
        after the `deadline` (monotonic clock), there is no further attempt.
        """
        exhausted = stop_any(stop_after_attempt(self._bounds.attempts), stop_when_event_set(self._stop))

        def ended(state: RetryCallState) -> bool:
            wait = max(state.upcoming_sleep, _asked(state) or 0.0)
            return exhausted(state) or time.monotonic() + wait > deadline

        retrying = Retrying(
            retry=retry_if_exception_type(UnavailableError),
            wait=_wait,
            stop=ended,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            answer: Answer = retrying(attempt)
        except UnavailableError as error:
            left = deadline - time.monotonic()
            if error.wait is not None and error.wait > left:
                asks = f" and asks to wait {error.wait:,.0f} s, with {max(left, 0.0):,.0f} s left for all of it"
                raise UnavailableError(f"{error}{asks}", error.wait, error.reply, error.is_connecting) from None
            tries = retrying.statistics["attempt_number"]
            words = f"{error} (tried {tries} time{'s' * (tries != 1)})"
            raise UnavailableError(words, error.wait, error.reply, error.is_connecting) from None
        return answer

    def masked(self, text: str) -> str:
        """The text on one line, cut to a readable length, with the secrets masked.

        A secret of fewer than four characters is none: masking it would cut words to pieces.
        """
        for secret in self._secrets:
            if len(secret.get_secret_value()) > 3:
                text = text.replace(secret.get_secret_value(), "***")
        return printable(text)


def _trusting(ca_file: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file.expanduser())
    except OSError as error:  # an SSLError, too
        raise SettingsError(f"{ca_file} cannot be used as certificates of an authority (PEM): {error}") from None


def printable(text: str) -> str:
    """The text on one line, cut to a readable length.

    Characters that cannot be printed become blanks. Among them are NUL and halves of surrogate pairs, which JSON can
    hold and Postgres cannot.
    """
    text = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return text if len(text) <= 200 else text[:199] + "…"


def _asked(state: RetryCallState) -> float | None:
    """Seconds the API asked to wait, if it did."""
    error = state.outcome.exception() if state.outcome else None
    return error.wait if isinstance(error, UnavailableError) else None


def _wait(state: RetryCallState) -> float:
    asked = _asked(state)
    return BACKOFF(state) if asked is None else min(max(asked, 0.0), LONGEST_WAIT)


def _seconds(retry_after: str | None) -> float | None:
    """The seconds that a Retry-After header asks for; it holds seconds or a date."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
