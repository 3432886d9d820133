"""Bybit's executions over REST (v5): signed requests, pages, and the meaning of the replies.

Source of the rules: Bybit's v5 documentation, "Get Trade History", "Authentication" and "Error Codes".
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Set
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

from pydantic import SecretStr

from extract.rejects import Reject, digest
from extract.rest import HttpClient, Reply, ServiceError, UnavailableError

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
LONGEST_SPAN = timedelta(days=7)
"""The longest span of one request."""
HISTORY = timedelta(days=730)
"""How far back Bybit keeps executions."""
PAGE = 100
RECV_WINDOW = 5000
"""Milliseconds a request is valid for; Bybit's own default."""
BAN_PAUSE = 600.0
"""Seconds without requests after which Bybit lets a banned address in again."""
LONGEST_ID = 200
FIRST_TIME, LAST_TIME = 946_684_800_000, 4_102_444_800_000  # 2000 and 2100, in milliseconds

_TRY_AGAIN = {10000: "timed out", 10016: "had an internal error"}
_CREDENTIALS = {
    10003: "does not know the key of BYBIT_API_KEY (a key of the testnet works with its own BYBIT_BASE_URL only)",
    33004: "says the key of BYBIT_API_KEY has expired: make a new one",
    10004: "finds the signature wrong: BYBIT_API_SECRET does not belong to BYBIT_API_KEY",
    10005: "says the key of BYBIT_API_KEY may not read executions: let it read orders and positions",
    10007: "does not accept the key of BYBIT_API_KEY",
    10010: "says the key of BYBIT_API_KEY is bound to other IP addresses than this machine's",
}
_BANNED = {10009, 10018}


class AccountError(ServiceError):
    """The key, its secret or this machine's clock is wrong; nothing can be read until somebody corrects it."""


class BannedError(ServiceError):
    """Bybit blocks this machine's address, for ten minutes at least."""

    pause = BAN_PAUSE


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
        clock: Unix seconds; for tests.
    """

    def __init__(
        self, http: HttpClient, key: SecretStr, secret: SecretStr, clock: Callable[[], float] = time.time
    ) -> None:
        self._http = http
        self._key = key
        self._secret = secret
        self._clock = clock

    def executions(self, category: str, since: datetime, until: datetime) -> dict[str, Item]:
        """All executions of a span of at most `LONGEST_SPAN`, both ends included, by their key.

        Raises:
            AccountError, BannedError, RejectedRequestError: see each class.
            UnavailableError: all attempts failed.
        """
        query = f"category={category}&startTime={milliseconds(since)}&endTime={milliseconds(until)}&limit={PAGE}"
        found: dict[str, Item] = {}
        cursors = [""]
        while True:
            page, following = self._http.retrying(partial(self._page, query, cursors[-1], found.keys()))
            found |= page
            if not following or (not page and following in cursors):
                return found
            cursors.append(following)

    def probe(self, category: str) -> float:
        """Ask for one execution; return how many seconds this machine's clock is ahead of Bybit's.

        Raises:
            As `executions`.
        """
        reply = self._http.retrying(lambda: self._ask(f"category={category}&limit=1"))
        server = reply.get("time")
        return self._clock() - server / 1000 if isinstance(server, int) else 0.0

    def _page(self, query: str, cursor: str, known: Set[str]) -> tuple[dict[str, Item], str]:
        """One page, newest executions first, and the cursor of the next page, empty if there is none."""
        # the cursor arrives percent-encoded and must not be encoded again
        result = self._ask(query + (f"&cursor={cursor}" if cursor else "")).get("result")
        if not isinstance(result, dict) or not isinstance(result.get("list"), list):
            raise UnavailableError("Bybit's reply has no list of executions")
        following = result.get("nextPageCursor") or ""
        if not isinstance(following, str):
            raise UnavailableError("Bybit's reply has a cursor that is not text")
        page = {item.exec_id if isinstance(item, Execution) else item.key: item for item in map(_item, result["list"])}
        if page and page.keys() <= known:
            raise UnavailableError("Bybit sends a page a second time instead of the next one")
        return page, following

    def _ask(self, query: str) -> dict[str, Any]:
        """Send one request; return its reply, checked to have retCode 0."""
        sent = 0

        def headers(query_string: str) -> dict[str, str]:
            nonlocal sent
            sent = int(self._clock() * 1000)
            return self._signed(sent, query_string)

        reply = self._http.get(f"/v5/execution/list?{query}", headers)
        if reply.status == 403:
            raise BannedError(
                "Bybit refuses this address (HTTP 403): too many requests from it, or a country it does not serve. "
                "Wait ten minutes before the next attempt; a lower BYBIT_REQUESTS_PER_SECOND keeps it from happening"
            )
        if reply.status == 401:
            raise AccountError(f"Bybit {_CREDENTIALS[10007]} (HTTP 401)")
        if reply.status == 404:
            raise RejectedRequestError("Bybit has no such list (HTTP 404): does BYBIT_CATEGORIES fit the account?")
        content = reply.json()
        if not isinstance(content, dict) or not isinstance(content.get("retCode"), int):
            raise UnavailableError(f"a reply is not one of Bybit's (HTTP {reply.status}): is BYBIT_BASE_URL right?")
        if content["retCode"] != 0:
            raise self._complaint(content, reply, sent)
        return content

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
            return AccountError(f"Bybit {_CREDENTIALS[code]} ({code})")
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
        if code in _BANNED:
            return BannedError(
                f"Bybit refuses this address ({code}: {words}); wait ten minutes before the next attempt"
            )
        return RejectedRequestError(f"Bybit refuses the request ({code}: {words})")


def signature(secret: SecretStr, text: str) -> str:
    """HMAC-SHA256 of the text, in hex: Bybit's signature of timestamp + key + recv_window + query string."""
    return hmac.new(secret.get_secret_value().encode(), text.encode(), hashlib.sha256).hexdigest()


def milliseconds(moment: datetime) -> int:
    """Unix milliseconds of a moment."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


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
