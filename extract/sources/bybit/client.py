"""Bybit's executions over REST (v5): signed requests, pages, and the meaning of the replies.

Source of the rules: Bybit's v5 documentation, "Get Trade History", "Authentication" and "Error Codes".
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from extract.rejects import Reject, digest
from extract.rest import HttpClient, Reply, ServiceError, UnavailableError

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
LONGEST_SPAN = timedelta(days=7)
"""The longest span of one request."""
HISTORY = timedelta(days=730)
"""How far back Bybit keeps executions."""
PAGE = 100
PAGE_OF_DAYS = 1000
PAGE_OF_DELIVERIES = 50
RECV_WINDOW = 5000
"""Milliseconds a request is valid for; Bybit's own default."""
BAN_PAUSE = 600.0
"""Seconds without requests after which Bybit lets a banned address in again."""
LONGEST_ID = 200
FIRST_TIME, LAST_TIME = 946_684_800_000, 4_102_444_800_000  # 2000 and 2100, in milliseconds

_TRY_AGAIN = {
    10000: "timed out",
    10016: "had an internal error",
    10429: "gets too many requests at once from everybody",
    170001: "had an internal error",
    170007: "timed out",
    170032: "has a network error",
}
_CREDENTIALS = {
    10003: "does not know the key of BYBIT_API_KEY (a key of the testnet works with its own BYBIT_BASE_URL only)",
    33004: "says the key of BYBIT_API_KEY has expired: make a new one",
    10004: "finds the signature wrong: BYBIT_API_SECRET does not belong to BYBIT_API_KEY",
    10005: "says the key of BYBIT_API_KEY may not read executions: let it read orders and positions",
    10007: "does not accept the key of BYBIT_API_KEY",
    10010: "says the key of BYBIT_API_KEY is bound to other IP addresses than this machine's",
}
_BANNED = {10018}
_KLINE, _CLOSED_PNL = "/v5/market/kline", "/v5/position/closed-pnl"
_DELIVERIES = "/v5/asset/delivery-record"
_EXECUTIONS, _ACCOUNT = "/v5/execution/list", "/v5/user/query-api"
_PLACES = ("testnet", "demo")
"""Words in the host of Bybit's sites where nothing is real; their accounts have numbers of their own."""


class AccountError(ServiceError):
    """The key, its secret or this machine's clock is wrong; nothing can be read until somebody corrects it."""


class BannedError(ServiceError):
    """Bybit blocks this machine's address, for ten minutes at least."""

    pause = BAN_PAUSE


class RegionError(AccountError):
    """Bybit does not serve this machine's country."""


class RejectedRequestError(ServiceError):
    """Bybit rejects this request; another category may work."""


@dataclass(frozen=True)
class Execution:
    """An item of the list with a valid id and time; `payload` is the item as JSON."""

    exec_id: str
    exec_time: datetime
    payload: str


Item = Execution | Reject


class Bybit:
    """The client of one Bybit account.

    Args:
        http: sends the requests.
        key: the account's API key.
        secret: the key's secret.
        name: the account's in BYBIT_ACCOUNTS; errors then name its variables.
        clock: Unix seconds; for tests.
    """

    def __init__(
        self,
        http: HttpClient,
        key: SecretStr,
        secret: SecretStr,
        name: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._http = http
        self._prefix = "BYBIT_" if name is None else f"BYBIT_{name.upper()}_"
        self._key = key
        self._secret = secret
        self._clock = clock

    def executions(self, category: str, since: datetime, until: datetime) -> dict[str, Item]:
        """All executions of a span of at most `LONGEST_SPAN`, both ends included, by their key.

        Raises:
            AccountError, BannedError, RejectedRequestError: see each class.
            UnavailableError: all attempts failed.
        """
        query = f"category={category}&{_span(since, until)}&limit={PAGE}"
        found: dict[str, Item] = {}
        cursors = [""]
        while True:
            page, following = self._http.retrying(partial(self._page, query, cursors[-1], found.keys()))
            found |= page
            if not following or (not page and following in cursors):
                return found
            cursors.append(following)

    def closed_pnl(self, category: str, since: datetime, until: datetime) -> Iterator[dict[str, Any]]:
        """Bybit's own records of closed profit, as they come, of a span of at most `LONGEST_SPAN`.

        Raises:
            As `executions`.
        """
        return self._records(_CLOSED_PNL, f"category={category}&{_span(since, until)}&limit={PAGE}")

    def _records(self, path: str, query: str) -> Iterator[dict[str, Any]]:
        """The records of all pages of a list, as they come."""
        cursor, seen = "", {""}
        while True:
            asked = query + (f"&cursor={cursor}" if cursor else "")
            result = self._http.retrying(partial(self._ask, path, asked)).get("result")
            if not isinstance(result, dict) or not isinstance(result.get("list"), list):
                raise UnavailableError("Bybit's reply has no list of records")
            yield from (each for each in result["list"] if isinstance(each, dict))
            cursor = str(result.get("nextPageCursor") or "")
            if cursor in seen:
                return
            seen.add(cursor)

    def deliveries(self, since: datetime, until: datetime) -> dict[str, Item]:
        """Options held to expiry in a span of at most `LONGEST_SPAN`, as items like executions, by their key.

        Raises:
            As `executions`.
        """
        records = self._records(_DELIVERIES, f"category=option&{_span(since, until)}&limit={PAGE_OF_DELIVERIES}")
        items = [_delivery(record) for record in records]
        return {item.exec_id if isinstance(item, Execution) else item.key: item for item in items}

    def account_uid(self) -> str:
        """Bybit's number of the key's account, after `testnet-` or `demo-` where it is none of the main site.

        Raises:
            As `executions`.
        """
        result = self._http.retrying(lambda: self._ask(_ACCOUNT, "")).get("result")
        uid = result.get("userID") if isinstance(result, dict) else None
        if not isinstance(uid, int | str) or not re.fullmatch(r"[0-9A-Za-z]{1,40}", str(uid)):
            raise RejectedRequestError("Bybit's reply does not name the account of the key")
        return uid_at(self._http.address, str(uid))

    def daily_opens(self, coin: str, first: date, last: date) -> dict[date, str]:
        """A coin's price in USDT at the start of each day (UTC) between two, as far as Bybit lists it.

        Raises:
            As `executions`.
        """
        found: dict[date, str] = {}
        while first <= last:
            end = min(last, first + timedelta(days=PAGE_OF_DAYS - 1))
            start_ms, end_ms = (
                milliseconds(datetime(day.year, day.month, day.day, tzinfo=timezone.utc)) for day in (first, end)
            )
            query = f"category=spot&symbol={coin}USDT&interval=D&start={start_ms}&end={end_ms}&limit={PAGE_OF_DAYS}"
            result = self._http.retrying(partial(self._ask, _KLINE, query)).get("result")
            listed = result.get("list") if isinstance(result, dict) else None
            for each in listed if isinstance(listed, list) else []:
                if (
                    isinstance(each, list)
                    and len(each) > 1
                    and re.fullmatch(r"[0-9]{1,20}(\.[0-9]{1,20})?", str(each[1]))
                ):
                    found[(EPOCH + timedelta(milliseconds=int(each[0]))).date()] = str(each[1])
            first = end + timedelta(days=1)
        return found

    def probe(self, category: str) -> float:
        """Ask for one execution; return how many seconds this machine's clock is ahead of Bybit's.

        Raises:
            As `executions`.
        """
        reply = self._http.retrying(lambda: self._ask(_EXECUTIONS, f"category={category}&limit=1"))
        server = reply.get("time")
        return self._clock() - server / 1000 if isinstance(server, int) else 0.0

    def _page(self, query: str, cursor: str, known: Set[str]) -> tuple[dict[str, Item], str]:
        """One page, newest executions first, and the cursor of the next page, empty if there is none."""
        # the cursor arrives percent-encoded and must not be encoded again
        result = self._ask(_EXECUTIONS, query + (f"&cursor={cursor}" if cursor else "")).get("result")
        if not isinstance(result, dict) or not isinstance(result.get("list"), list):
            raise UnavailableError("Bybit's reply has no list of executions")
        following = result.get("nextPageCursor") or ""
        if not isinstance(following, str):
            raise UnavailableError("Bybit's reply has a cursor that is not text")
        page = {item.exec_id if isinstance(item, Execution) else item.key: item for item in map(_item, result["list"])}
        if page and page.keys() <= known:
            raise UnavailableError("Bybit sends a page a second time instead of the next one")
        return page, following

    def _ask(self, path: str, query: str) -> dict[str, Any]:
        """Send one request; return its reply, checked to have retCode 0."""
        sent = 0

        def headers(query_string: str) -> dict[str, str]:
            nonlocal sent
            sent = int(self._clock() * 1000)
            return self._signed(sent, query_string)

        reply = self._http.get(f"{path}?{query}" if query else path, headers)
        if reply.status == 403:
            raise BannedError(
                "Bybit refuses this address (HTTP 403): too many requests from it, or a country it does not serve. "
                "Wait ten minutes before the next attempt; a lower BYBIT_REQUESTS_PER_SECOND keeps it from happening"
            )
        if reply.status == 401:
            raise AccountError(f"Bybit {self._fault(10007)} (HTTP 401)")
        if reply.status == 404:
            raise RejectedRequestError("Bybit has no such list (HTTP 404): does BYBIT_CATEGORIES fit the account?")
        content = reply.json()
        if not isinstance(content, dict) or not isinstance(content.get("retCode"), int):
            raise UnavailableError(f"a reply is not one of Bybit's (HTTP {reply.status}): is BYBIT_BASE_URL right?")
        if content["retCode"] != 0:
            raise self._complaint(content, reply, sent)
        return content

    def _fault(self, code: int) -> str:
        return _CREDENTIALS[code].replace("BYBIT_API_", f"{self._prefix}API_")

    def _signed(self, timestamp: int, query: str) -> dict[str, str]:
        key = self._key.get_secret_value()
        return {
            "X-BAPI-API-KEY": key,
            "X-BAPI-TIMESTAMP": str(timestamp),
            "X-BAPI-RECV-WINDOW": str(RECV_WINDOW),
            "X-BAPI-SIGN": signature(self._secret, f"{timestamp}{key}{RECV_WINDOW}{query}"),
        }

    def _complaint(self, content: dict[str, Any], reply: Reply, sent: int) -> ServiceError:
        """The error for a retCode."""
        code, server = content["retCode"], content.get("time")
        if code in _CREDENTIALS:
            # not Bybit's own message: the one for 10004 quotes the signed text with the key
            return AccountError(f"Bybit {self._fault(code)} ({code})")
        if code == 10002:
            return AccountError(f"Bybit finds the request out of time ({code}): {_clock_fault(sent, server)}")
        if code == 10006:
            reset = reply.headers.get("x-bapi-limit-reset-timestamp", "")
            # by Bybit's clock if the reply has it, because ours may differ
            now = server if isinstance(server, int) else int(self._clock() * 1000)
            ahead = int(reset) - now if reset.isdecimal() else 0
            return UnavailableError(f"Bybit's rate limit is reached ({code})", ahead / 1000 if ahead > 0 else None)
        if code in _TRY_AGAIN:
            return UnavailableError(f"Bybit {_TRY_AGAIN[code]} ({code})")
        words = self._http.masked(str(content.get("retMsg") or "without a reason"))
        if code == 10009:
            return RegionError(f"Bybit is not available in your region ({code}): {words}")
        if code in _BANNED:
            return BannedError(
                f"Bybit refuses this address ({code}: {words}); wait ten minutes before the next attempt"
            )
        return RejectedRequestError(f"Bybit refuses the request ({code}: {words})")


def signature(secret: SecretStr, text: str) -> str:
    """HMAC-SHA256 of the text, in hex: Bybit's signature of timestamp + key + recv_window + query string."""
    return hmac.new(secret.get_secret_value().encode(), text.encode(), hashlib.sha256).hexdigest()


def uid_at(address: str, uid: str) -> str:
    """Bybit's number of an account, told apart from those of its sites where nothing is real."""
    host = urlsplit(address).hostname or ""
    return "-".join([*(place for place in _PLACES if place in host), uid])


def milliseconds(moment: datetime) -> int:
    """Unix milliseconds of a moment."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def _span(since: datetime, until: datetime) -> str:
    return f"startTime={milliseconds(since)}&endTime={milliseconds(until)}"


def _delivery(record: dict[str, Any]) -> Item:
    """A delivery record with an id of ours: Bybit gives it none, and a position is delivered once."""
    name = "-".join(str(record.get(field)) for field in ("symbol", "side", "deliveryTime"))
    item = _item({"execId": f"delivery-{name}", "execTime": record.get("deliveryTime")})
    payload = json.dumps(record)
    if isinstance(item, Reject):
        return Reject(item.key, item.field, item.reason, payload)
    return Execution(item.exec_id, item.exec_time, payload)


def _clock_fault(sent: int, server: object) -> str:
    if not isinstance(server, int):
        return "is this machine's clock right?"
    ahead = (sent - server) / 1000
    return (
        f"this machine's clock is {abs(ahead):,.1f} s {'ahead of' if ahead > 0 else 'behind'} Bybit's; "
        "set it, and keep it set (NTP)"
    )


def _item(item: object) -> Item:
    """Check an item only for what landing needs: its id and its time."""
    payload = json.dumps(item)
    if not isinstance(item, dict):
        return Reject(digest(payload), "execId", "the item is not an object", payload)
    exec_id, moment = item.get("execId"), item.get("execTime")
    if not isinstance(exec_id, str) or not 0 < len(exec_id) <= LONGEST_ID or not exec_id.isprintable():
        return Reject(digest(payload), "execId", "no valid execId", payload)
    text = str(moment)
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and FIRST_TIME <= int(text) < LAST_TIME):
        return Reject(exec_id, "execTime", "not Unix milliseconds between 2000 and 2100", payload)
    return Execution(exec_id, EPOCH + timedelta(milliseconds=int(text)), payload)
