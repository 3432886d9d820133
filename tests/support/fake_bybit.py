"""A Bybit of our own: a real HTTP server in its own process that holds executions and can be told to misbehave.

It checks what Bybit checks: key, signature, recv_window, category, the seven days, the two years, limit and cursor,
which it hands out percent-encoded and takes back only as it was. It lists newest first, ties in no order.
"""

from __future__ import annotations

import bisect
import hashlib
import hmac
import json
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.bybit_items import CATEGORIES, DAY, now_ms, trades
from tests.support.fake_service import FakeHandler, FakeService, serve

KEY = "kEyOfTheFakeBybit1"
SECRET = "s3cretOfTheFakeBybitThatNobodyMaySee"
UID = 24617703
OTHER_KEY, OTHER_SECRET, OTHER_UID = "aKeyOfAnotherAccount2", "s3cretOfTheOtherAccountOfTheFake", 106958
ACCOUNTS = {KEY: (SECRET, UID), OTHER_KEY: (OTHER_SECRET, OTHER_UID)}
BESIDE = (
    "/v5/user/query-api",
    "/v5/market/kline",
    "/v5/position/closed-pnl",
    "/v5/asset/delivery-record",
)
"""What is asked for beside the lists of executions."""

LAST = chr(sys.maxunicode)
"""Sorts behind any text."""

Item = Mapping[str, Any]
Position = tuple[int, str]  # minus the time, and the digest


class FakeBybit(FakeService):
    """The parent's end: starts the server, fills it, breaks it, and asks what it has seen."""

    module = "tests.support.fake_bybit"

    @property
    def settings(self) -> dict[str, str]:
        """The environment of a client that has the right key."""
        return {"BYBIT_BASE_URL": self.url, "BYBIT_API_KEY": KEY, "BYBIT_API_SECRET": SECRET}

    def add(self, items: Iterable[Item], category: str = "linear", uid: int = UID) -> None:
        """List these executions of an account from now on; one with a known execId is replaced."""
        self._ask(
            "add", f"{uid}/{category}", [[int(item["execTime"]), item["execId"], json.dumps(item)] for item in items]
        )

    def add_text(self, at: int, text: str, category: str = "linear") -> None:
        """List an item that is whatever text it is, at Unix milliseconds."""
        self._ask("add", f"{UID}/{category}", [[at, text, text]])

    def generate(self, count: int, start: int, end: int, seed: int = 1) -> None:
        """Add `trades(count, start, end, seed)` without sending them over."""
        self._ask("generate", count, start, end, seed)

    def next(self, *faults: Mapping[str, Any]) -> None:
        """Treat the next requests like this, one each, before all goes on as usual. {} is an ordinary reply.

        `code` (with `message`, `reset_in` milliseconds): a retCode. `status` (with `headers`): an HTTP status.
        `cut`: the connection breaks off within the reply. `repeat`: the page before, again. `body`: this text.
        `late`: an ordinary reply, after which these executions are listed. All this concerns lists: whose key it
        is and what coins cost is answered as usual. `uid`: a `code` for this account only.
        """
        self._ask("next", list(faults))

    def always(self, **fault: Any) -> None:
        """Treat every request like this until told otherwise; without arguments all is well again."""
        self._ask("always", fault)

    def set_prices(self, symbol: str, opens: Mapping[int, str]) -> None:
        """List daily candles of a spot pair: Unix milliseconds of the day's start -> price then."""
        self._ask("prices", symbol, [[at, price] for at, price in opens.items()])

    def set_deliveries(self, records: Iterable[Item]) -> None:
        """List these records of options that were held to expiry."""
        self._ask("deliveries", list(records))

    def set_closed_pnl(self, records: Iterable[Item]) -> None:
        """List these records of closed profit, of linear contracts."""
        self._ask("closed_pnl", list(records))

    def clear(self) -> None:
        """Forget all executions."""
        self._ask("clear")

    def skew(self, milliseconds: int) -> None:
        """Set the server's clock so far ahead of ours."""
        self._ask("skew", milliseconds)

    def requests(self) -> list[tuple[float, str]]:
        """When (seconds, monotonic) and with which query string it was asked since the last call of this."""
        return [(float(at), str(query)) for at, query in self._ask("requests")]


# --- the child's side ------------------------------------------------------------------------


@dataclass
class Book:
    """The executions of a category, newest first; ties by a digest, which is no order anybody knows."""

    items: dict[str, tuple[int, str, str]] = field(default_factory=dict)  # id -> (-time, digest, text)
    listed: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, items: Iterable[tuple[int, str, str]]) -> None:
        for at, key, text in items:
            self.items[key] = (-at, hashlib.sha256(key.encode()).hexdigest()[:12], text)
        self.listed = sorted(self.items.values())

    def page(self, start: int, end: int, after: Position, limit: int) -> tuple[list[str], Position | None]:
        """Texts within [start, end] behind a position, and the position to go on from if there are more."""
        first = bisect.bisect_left(self.listed, max((-end, "", ""), (*after, LAST)))
        found = [each for each in self.listed[first : first + limit + 1] if -each[0] >= start]
        position = found[limit - 1][:2] if len(found) > limit else None
        return [text for _, _, text in found[:limit]], position


@dataclass
class State:
    """What the server knows; the handlers of several connections share it."""

    books: dict[str, Book] = field(default_factory=lambda: defaultdict(Book))  # by account and category
    prices: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    closed_pnl: list[dict[str, Any]] = field(default_factory=list)
    deliveries: list[dict[str, Any]] = field(default_factory=list)
    faults: deque[dict[str, Any]] = field(default_factory=deque)
    always: dict[str, Any] = field(default_factory=dict)
    skew: int = 0
    requests: list[tuple[float, str]] = field(default_factory=list)
    last: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def time(self) -> int:
        return now_ms() + self.skew

    def perform(self, name: str, *arguments: Any) -> Any:
        with self.lock:
            if name == "add":
                self.books[arguments[0]].add(arguments[1])
            elif name == "generate":
                made = [(int(item["execTime"]), item["execId"], json.dumps(item)) for item in trades(*arguments)]
                self.books[f"{UID}/linear"].add(made)
            elif name == "next":
                self.faults.extend(arguments[0])
            elif name == "always":
                self.always = arguments[0]
            elif name == "prices":
                self.prices[arguments[0]] = arguments[1]
            elif name == "deliveries":
                self.deliveries = arguments[0]
            elif name == "closed_pnl":
                self.closed_pnl = arguments[0]
            elif name == "clear":
                self.books.clear()
            elif name == "skew":
                self.skew = arguments[0]
            elif name == "requests":
                seen, self.requests = self.requests, []
                return seen
            else:
                raise ValueError(name)
        return None


class RefusalError(Exception):
    """A retCode."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Handler(FakeHandler):
    """One connection."""

    state: State

    def answer(self) -> None:
        """Answer a GET."""
        state = self.state
        path, _, query = self.path.partition("?")
        with state.lock:
            if path in BESIDE:
                self._answer_beside(path, query)
                return
            state.requests.append((time.monotonic(), query))
            fault = state.faults.popleft() if state.faults else state.always
            if path != "/v5/execution/list":
                self.send(404, "")
            elif "status" in fault:
                self.send(fault["status"], fault.get("body", ""), fault.get("headers", {}))
            elif "body" in fault:
                self.send(200, fault["body"])
            elif "repeat" in fault:
                self.send(200, state.last)
            else:
                self._list_or_refuse(query, fault)

    def _answer_beside(self, path: str, query: str) -> None:
        """Whose key it is, or what a coin cost."""
        code, message = 0, "OK"
        result: dict[str, Any] = {}
        try:
            if path == "/v5/user/query-api":
                result = {"userID": self._authenticate(query), "readOnly": 1}
            elif path != "/v5/market/kline":
                self._authenticate(query)
                raw = dict(part.split("=", 1) for part in query.split("&"))
                if path == "/v5/position/closed-pnl":
                    result = self._records(raw, self.state.closed_pnl, "linear", "updatedTime")
                else:
                    result = self._records(raw, self.state.deliveries, "option", "deliveryTime")
            else:
                raw = dict(part.split("=", 1) for part in query.split("&"))
                if raw["symbol"] not in self.state.prices:
                    raise RefusalError(10001, "Not supported symbols")
                opens = [
                    [str(at), price, price, "9999", "1", "0", "0"]
                    for at, price in self.state.prices[raw["symbol"]]
                    if int(raw["start"]) <= at <= int(raw["end"])
                ]
                result = {"symbol": raw["symbol"], "category": raw["category"], "list": opens[::-1]}
        except RefusalError as refusal:
            code, message = refusal.code, str(refusal)
        self.send(200, json.dumps({"retCode": code, "retMsg": message, "result": result, "time": self.state.time}))

    def _records(
        self, raw: Mapping[str, str], records: list[dict[str, Any]], category: str, moment: str
    ) -> dict[str, Any]:
        """A page of two records, so that there are several; the cursor is the number of those before."""
        start, end = int(raw["startTime"]), int(raw["endTime"])
        if not 0 <= end - start <= 7 * DAY:
            raise RefusalError(10001, "The time range between startTime and endTime cannot exceed 7 days")
        of_category = records if raw["category"] == category else []
        found = [each for each in of_category if start <= int(each[moment]) <= end]
        first = int(raw.get("cursor", "0"))
        following = str(first + 2) if len(found) > first + 2 else ""
        return {"category": raw["category"], "list": found[first : first + 2], "nextPageCursor": following}

    def _list_or_refuse(self, query: str, fault: Mapping[str, Any]) -> None:
        headers = {}
        try:
            uid = self._authenticate(query)
            if "code" in fault and fault.get("uid", uid) == uid:
                if "reset_in" in fault:
                    headers["X-Bapi-Limit-Reset-Timestamp"] = str(self.state.time + fault["reset_in"])
                raise RefusalError(fault["code"], fault.get("message", "told so"))
            result = self._list(query, uid)
        except RefusalError as refusal:
            reply = {"retCode": refusal.code, "retMsg": str(refusal), "result": {}, "time": self.state.time}
            self.send(200, json.dumps(reply), headers)
            return
        self.state.last = f'{{"retCode":0,"retMsg":"OK","result":{result},"retExtInfo":{{}},"time":{self.state.time}}}'
        self.send(200, self.state.last, cut="cut" in fault)
        if "late" in fault:
            late = [(int(item["execTime"]), item["execId"], json.dumps(item)) for item in fault["late"]]
            self.state.books[f"{UID}/linear"].add(late)

    def _authenticate(self, query: str) -> int:
        """The number of the account."""
        key, timestamp = self.headers["X-BAPI-API-KEY"], self.headers["X-BAPI-TIMESTAMP"]
        window = self.headers["X-BAPI-RECV-WINDOW"]
        if key not in ACCOUNTS:
            raise RefusalError(10003, "API key is invalid.")
        secret, uid = ACCOUNTS[key]
        origin = timestamp + key + window + query
        if hmac.new(secret.encode(), origin.encode(), hashlib.sha256).hexdigest() != self.headers["X-BAPI-SIGN"]:
            raise RefusalError(10004, f"error sign! origin_string[{origin}]")
        if not self.state.time - int(window) <= int(timestamp) < self.state.time + 1000:
            raise RefusalError(10002, "invalid request, please check your server timestamp or recv_window param")
        return uid

    def _list(self, query: str, uid: int) -> str:
        raw = dict(part.split("=", 1) for part in query.split("&"))
        if raw.get("category") not in CATEGORIES:
            raise RefusalError(10001, "category is wrong")
        end = int(raw.get("endTime", self.state.time))
        start = int(raw.get("startTime", end - 7 * DAY))
        if not 0 <= end - start <= 7 * DAY:
            raise RefusalError(10001, "The time range between startTime and endTime cannot exceed 7 days")
        if start < self.state.time - 730 * DAY:
            raise RefusalError(10001, "startTime is older than 2 years")
        limit = int(raw.get("limit", "50"))
        if not 1 <= limit <= 100:
            raise RefusalError(10001, "limit is wrong")
        texts, position = self.state.books[f"{uid}/{raw['category']}"].page(
            start, end, _position(raw.get("cursor")), limit
        )
        cursor = "" if position is None else f"{-position[0]}%3A{position[1]}%2C{-position[0]}%3A{position[1]}"
        return f'{{"nextPageCursor":"{cursor}","category":"{raw["category"]}","list":[{",".join(texts)}]}}'


def _position(cursor: str | None) -> Position:
    """The position a cursor stands for; encoded once more, or not at all, it is no cursor."""
    if cursor is None:
        return (-(1 << 62), "")
    half, _, other = cursor.partition("%2C")
    at, _, digest = half.partition("%3A")
    if half != other or not at.isdecimal() or len(digest) != 12:
        raise RefusalError(10001, "cursor is invalid")
    return (-int(at), digest)


if __name__ == "__main__":
    serve(State(), Handler)
