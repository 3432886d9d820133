"""An Upstox of our own: a real HTTP server in its own process that holds masters and candles and can misbehave.

It checks what Upstox checks: User-Agent, token, key, the length of a window, and three limits of requests. Candles are
made from a listing (a key's first and last day, its price and volume), so that nothing has to be sent over.
"""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote

from tests.support.fake_service import FakeHandler, FakeService, serve
from tests.support.upstox_rows import IST

TOKEN = "anAnalyticsTokenOfTheFakeThatNobodyMaySee"
LIMITS = ((50, 1.0), (500, 60.0), (2000, 1800.0))
FIRST_MINUTES = date(2022, 1, 1)
PAGE_1010 = "<!DOCTYPE html><title>Access denied</title><p>error code: 1010</p>"


class FakeUpstox(FakeService):
    """The parent's end: starts the server, fills it, breaks it, and asks what it has seen."""

    module = "tests.support.fake_upstox"

    @property
    def settings(self) -> dict[str, str]:
        """The environment of a client that has the right token."""
        return {
            "UPSTOX_BASE_URL": self.url,
            "UPSTOX_INSTRUMENTS_URL": f"{self.url}/masters",
            "UPSTOX_ACCESS_TOKEN": TOKEN,
        }

    def master(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Serve these rows as the master of this name."""
        self._ask("master", name, list(rows))

    def master_bytes(self, name: str, body: bytes) -> None:
        """Serve this as it is."""
        self._ask("master_bytes", name, body.hex())

    def listing(self, key: str, first: date, last: date | None = None, **about: Any) -> None:
        """Trade a key from a day on: `price`, `volume` of a minute, `minutes` a day, days `without` them."""
        self._ask("listing", key, {"first": str(first), "last": str(last or date.max), **about})

    def sessions(self, holidays: Iterable[date] = (), special: Iterable[date] = ()) -> None:
        """Close weekdays, and open other days for an evening."""
        self._ask("sessions", [str(day) for day in holidays], [str(day) for day in special])

    def calendar(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Serve these rows as the calendar."""
        self._ask("calendar", list(rows))

    def adjust(self, key: str, before: date, ratio: float) -> None:
        """Multiply all prices of a key before a day, as a split does."""
        self._ask("adjust", key, str(before), ratio)

    def intraday(self, key: str, rows: Sequence[Sequence[Any]]) -> None:
        """Serve these as the intraday candles of a key."""
        self._ask("intraday", key, list(rows))

    def expired(self, underlying: str, expiry: date, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep these contracts as expired ones."""
        self._ask("expired", underlying, str(expiry), list(rows))

    def refuse(self, path: str, status: int, code: str) -> None:
        """Answer requests whose path begins like this with an error; status 0 ends that."""
        self._ask("refuse", path, status, code)

    def next(self, *faults: Mapping[str, Any]) -> None:
        """Treat the next requests like this, one each: `status` with `body` and `headers`; {} is an ordinary reply."""
        self._ask("next", list(faults))

    def hold(self, requests: int) -> None:
        """Answer so many requests, and hold the one after them until `release`."""
        self._ask("hold", requests)

    def wait_until_held(self) -> None:
        """Wait until a request is held."""
        deadline = time.monotonic() + 60
        while not self._ask("held"):
            assert time.monotonic() < deadline, "no request came"
            time.sleep(0.01)

    def release(self) -> None:
        """Let the request that is held go, and all later ones."""
        self._ask("release")

    def limit(self, limits: Sequence[tuple[int, float]]) -> None:
        """Allow so many requests in so many seconds."""
        self._ask("limit", list(limits))

    def requests(self) -> list[str]:
        """The paths, unquoted, that it was asked for since the last call of this; refused ones count."""
        return [str(path) for path in self._ask("requests")]


# --- the child's side ------------------------------------------------------------------------


class RefusalError(Exception):
    """A status and an error code."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass
class State:
    """What the server knows; the handlers of several connections share it."""

    masters: dict[str, bytes] = field(default_factory=dict)
    listings: dict[str, dict[str, Any]] = field(default_factory=dict)
    holidays: set[str] = field(default_factory=set)
    special: set[str] = field(default_factory=set)
    calendar: list[Any] = field(default_factory=list)
    adjusted: dict[str, list[tuple[str, float]]] = field(default_factory=dict)
    intraday: dict[str, list[Any]] = field(default_factory=dict)
    expired: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    faults: deque[dict[str, Any]] = field(default_factory=deque)
    limits: list[tuple[int, float]] = field(default_factory=lambda: list(LIMITS))
    sent: deque[float] = field(default_factory=deque)
    requests: list[str] = field(default_factory=list)
    answers_left: int | None = None
    held: bool = False
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def perform(self, name: str, *arguments: Any) -> Any:
        with self.lock:
            if name == "hold":
                self.answers_left, self.held = arguments[0], False
                self.released.clear()
            elif name == "held":
                return self.held
            elif name == "release":
                self.answers_left, self.held = None, False
                self.released.set()
            elif name == "master":
                self.masters[arguments[0]] = gzip.compress(json.dumps(arguments[1]).encode(), compresslevel=1)
            elif name == "master_bytes":
                self.masters[arguments[0]] = bytes.fromhex(arguments[1])
            elif name == "sessions":
                self.holidays, self.special = set(arguments[0]), set(arguments[1])
            elif name == "adjust":
                self.adjusted.setdefault(arguments[0], []).append((arguments[1], arguments[2]))
            elif name == "expired":
                self.expired.setdefault(arguments[0], {})[arguments[1]] = arguments[2]
            elif name == "refuse":
                self.refusals.pop(arguments[0], None)
                if arguments[1]:
                    self.refusals[arguments[0]] = (arguments[1], arguments[2])
            elif name == "next":
                self.faults.extend(arguments[0])
            elif name == "listing":
                self.listings[arguments[0]] = arguments[1]
            elif name == "intraday":
                self.intraday[arguments[0]] = arguments[1]
            elif name == "calendar":
                self.calendar = arguments[0]
            elif name == "limit":
                self.limits = [(int(most), float(seconds)) for most, seconds in arguments[0]]
            elif name == "requests":
                seen, self.requests = self.requests, []
                return seen
            else:
                raise ValueError(name)
        return None

    def admit(self) -> None:
        """Count a request against the limits."""
        now = time.monotonic()
        for most, seconds in self.limits:
            if sum(at > now - seconds for at in self.sent) >= most:
                raise RefusalError(429, "UDAPI10005", "Too Many Request Sent")
        self.sent.append(now)

    def is_session(self, day: date) -> bool:
        return str(day) in self.special or (day.weekday() < 5 and str(day) not in self.holidays)

    def candles(self, key: str, unit: str, since: date, until: date) -> list[list[Any]]:
        """Newest first; today is not in the history yet."""
        about = self.listings.get(key)
        if about is None:
            raise RefusalError(400, "UDAPI100011", "Invalid Instrument key")
        first = max(since, date.fromisoformat(about["first"]), FIRST_MINUTES if unit == "minutes" else date.min)
        today = datetime.now(IST).date()
        day = min(until, date.fromisoformat(about["last"]), today - timedelta(days=1))
        found: list[list[Any]] = []
        while day >= first:
            if self.is_session(day):
                found += self._of_day(key, about, unit, day)
            day -= timedelta(days=1)
        return found

    def _of_day(self, key: str, about: Mapping[str, Any], unit: str, day: date) -> list[list[Any]]:
        """Minutes, newest first, or the day; prices follow from the day alone."""
        base = float(about.get("price", 100.0)) + day.toordinal() % 50
        for before, ratio in self.adjusted.get(key, []):
            if str(day) < before:
                base *= ratio
        volume, minutes = int(about.get("volume", 10)), int(about.get("minutes", 3))
        if unit == "days":
            return [[f"{day}T00:00:00+05:30", base, base + 2, base - 2, base + 1, volume * minutes, 0]]
        if str(day) in about.get("without", []):
            return []
        opens = datetime(day.year, day.month, day.day, 18 if str(day) in self.special else 9, 15, tzinfo=IST)
        return [
            [(opens + timedelta(minutes=n)).isoformat(), base + n, base + n + 1, base + n - 1, base + n, volume, n]
            for n in reversed(range(minutes))
        ]


class Handler(FakeHandler):
    """One connection."""

    state: State

    def answer(self) -> None:
        """Answer as Upstox does."""
        path, _, query = self.path.partition("?")
        with self.state.lock:
            self.state.requests.append(unquote(self.path))
        self._wait_if_held()
        with self.state.lock:
            fault = self.state.faults.popleft() if self.state.faults else {}
            try:
                if "status" in fault:
                    self.send(fault["status"], fault.get("body", ""), fault.get("headers"))
                    return
                if "python" in str(self.headers["User-Agent"]).lower():
                    self.send(403, PAGE_1010, {"Content-Type": "text/html"})
                    return
                if path.startswith("/masters/"):
                    self._master(path.removeprefix("/masters/").removesuffix(".json.gz"))
                    return
                self.state.admit()
                if self.headers["Authorization"] != f"Bearer {TOKEN}":
                    raise RefusalError(401, "UDAPI100050", "Invalid token used to access API")
                for prefix, (status, code) in self.state.refusals.items():
                    if path.startswith(prefix):
                        raise RefusalError(status, code, "told so")
                data = self._data([unquote(part) for part in path.split("/")[1:]], parse_qs(query))
            except RefusalError as refusal:
                error = {"error_code": refusal.code, "message": str(refusal), "property_path": None}
                self.send(refusal.status, json.dumps({"status": "error", "errors": [error]}))
                return
            self.send(200, json.dumps({"status": "success", "data": data}))

    def _wait_if_held(self) -> None:
        with self.state.lock:
            if self.state.answers_left is None:
                return
            self.state.held = self.state.answers_left == 0
            if not self.state.held:
                self.state.answers_left -= 1
                return
        self.state.released.wait()

    def _master(self, name: str) -> None:
        body = self.state.masters.get(name)
        if body is None:
            self.send(404, "")
            return
        self.send_response_only(200)
        self.send_header("Content-Type", "application/gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _data(self, parts: list[str], query: Mapping[str, list[str]]) -> Any:
        state = self.state
        match parts:
            case ["v2", "market", "holidays"]:
                return state.calendar
            case ["v3", "historical-candle", "intraday", key, "minutes", "1"]:
                return {"candles": state.intraday.get(key, [])}
            case ["v3", "historical-candle", key, unit, "1", until, since]:
                first, last = date.fromisoformat(since), date.fromisoformat(until)
                longest = 31 if unit == "minutes" else 3653
                if (last - first).days >= longest:
                    raise RefusalError(400, "UDAPI1148", "Invalid date range")
                return {"candles": state.candles(key, unit, first, last)}
            case ["v2", "expired-instruments", "expiries"]:
                return sorted(state.expired.get(query["instrument_key"][0], {}))
            case ["v2", "expired-instruments", "option", "contract"]:
                return state.expired.get(query["instrument_key"][0], {}).get(query["expiry_date"][0], [])
            case ["v2", "expired-instruments", "historical-candle", key, "1minute", until, since]:
                return {"candles": state.candles(key, "minutes", date.fromisoformat(since), date.fromisoformat(until))}
        raise RefusalError(404, "UDAPI100060", "Resource not Found")


if __name__ == "__main__":
    serve(State(), Handler)
