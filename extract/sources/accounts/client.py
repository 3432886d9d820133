"""The client of the API beside the MT5 terminals: its requests, and the listings they make."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote, urlencode

from pydantic import SecretStr, ValidationError

from extract.rejects import Reject
from extract.rest import HttpClient, Reply, ServiceError, UnavailableError
from extract.sources.accounts.items import HistoryPart, Info, Listing, Position, fault, sort_in

PAGE = 1000
"""Rows per page, the most the API allows."""
MOST_PAGES = 100
"""The most pages of one account in one run, so that an API that always has one more cannot block a run."""
WELL = {"ok", "healthy", "up", "running", "connected", "alive"}
"""What the API may say of itself under `status`."""
CLOCKS_APART = timedelta(days=1)
"""Terminals use their broker's clock for trades, which may be most of a day ahead of UTC or behind it."""


class RejectedRequestError(ServiceError):
    """The API rejects the request, or its reply does not have the expected form."""


class ReportedError(RejectedRequestError):
    """The API reports a failure in its own form."""


class RejectedKeyError(RejectedRequestError):
    """The API does not accept the key."""


class AccountClient:
    """The client of the API.

    Args:
        http: sends the requests.
        key: the API key; None if the token is enough.
        token: the bearer token; None if the key is enough.
    """

    def __init__(self, http: HttpClient, key: SecretStr | None, token: SecretStr | None = None) -> None:
        self._http = http
        self._secret_headers = {
            **({"X-API-Key": key.get_secret_value()} if key else {}),
            **({"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}),
        }
        names = {"MT5_SERVICE_API_KEY": key, "MT5_SERVICE_TOKEN": token}
        self._secret_names = " and ".join(name for name, secret in names.items() if secret)

    def info(self, account: str, deadline: float = math.inf) -> Listing:
        """Balance and margins; `deadline`, here and below, is on the monotonic clock.

        This raises no error of the API; the listing's `failure` holds it.
        """
        return self._listed(lambda listing: self._info(listing, account, deadline))

    def positions(self, account: str, deadline: float = math.inf) -> Listing:
        """The open positions."""
        return self._listed(lambda listing: self._positions(listing, account, deadline))

    def history(self, account: str, part: HistoryPart, deadline: float = math.inf) -> Listing:
        """The rows of a history from `part.offset` on, from all pages; pages read before a failure are kept.

        The listing's `part` says how far it came.
        """
        return self._listed(lambda listing: self._history(listing, account, part, deadline))

    def health(self, deadline: float = math.inf) -> float:
        """Ask the API whether it is up; return the seconds that took.

        Raises:
            ServiceError: it does not answer, or says that it is not well.
        """
        started = time.monotonic()
        reply = self._http.retrying(lambda: self._http.get("/health", self._headers, deadline), deadline)
        self._require_accepted(reply)
        if reply.status != 200:
            raise RejectedRequestError(f"{self._http.address} answers HTTP {reply.status}: is MT5_SERVICE_URL right?")
        content = reply.json()
        state = content.get("status") if isinstance(content, dict) else None
        if not isinstance(content, dict) or content.get("success") is False or str(state or "ok").lower() not in WELL:
            raise RejectedRequestError(self._http.masked(f"{self._http.address}/health says: {json.dumps(content)}"))
        return time.monotonic() - started

    def _listed(self, read: Callable[[Listing], None]) -> Listing:
        listing = Listing()
        try:
            read(listing)
        except ServiceError as error:
            listing.failure = str(error)
            no_reply = isinstance(error, UnavailableError) and error.reply is None and error.is_connecting
            listing.is_down = no_reply or isinstance(error, RejectedKeyError)
            listing.is_answer = isinstance(error, ReportedError)
        finally:
            self._http.let_go()
        return listing

    def _info(self, listing: Listing, account: str, deadline: float) -> None:
        data = self._ask(account, "info", {}, deadline).get("data")
        if not isinstance(data, dict):
            raise RejectedRequestError("the reply has no data")
        payload = json.dumps(data)
        try:
            Info.model_validate(data)
        except ValidationError as error:
            listing.reject(Reject("", *fault(error), payload))
        else:
            listing.items["", ""] = payload

    def _positions(self, listing: Listing, account: str, deadline: float) -> None:
        sort_in(listing, _items(self._ask(account, "positions", {}, deadline), "positions"), Position)

    def _history(self, listing: Listing, account: str, part: HistoryPart, deadline: float) -> None:
        listing.part = HistoryPart(part.since, part.until, part.offset, part.offset)
        before: bytes | None = None
        for _ in range(MOST_PAGES):
            offset = listing.part.offset
            query = {"from_date": _iso(part.since), "to_date": _iso(part.until), "limit": PAGE, "offset": offset}
            content = self._ask(account, "history", query, deadline)
            items = _items(content, "trades")
            page = hashlib.sha256(json.dumps(items).encode()).digest()
            if items and page == before:
                raise RejectedRequestError(f"the page at offset {offset} repeats the one before it; is offset ignored?")
            sort_in(listing, items)
            self._http.let_go()
            pagination = content.get("pagination")
            if not isinstance(pagination, dict | None):
                raise RejectedRequestError("pagination is no object")
            has_more = len(items) >= PAGE if pagination is None else bool(pagination.get("has_more"))
            if not has_more:
                return
            if not items:
                raise RejectedRequestError(f"there is more after {offset} trades, but the next page is empty")
            listing.part.offset += len(items)
            before = page
        raise RejectedRequestError(
            f"there are more than {MOST_PAGES} pages: {listing.part.offset:,} trades have been read,"
            " and the next sync goes on from there"
        )

    def _ask(self, account: str, endpoint: str, query: dict[str, object], deadline: float) -> dict[str, Any]:
        """Send one request; return its reply, checked to be a success and about this account."""
        if account in (".", ".."):
            raise RejectedRequestError("an account with this id cannot be asked for: it would be another path")
        target = f"/api/mt5/account/{quote(account, safe='')}/{endpoint}"
        if query:
            target += "?" + urlencode(query)
        try:
            reply = self._http.retrying(lambda: self._attempt(target, deadline), deadline)
        except UnavailableError as error:
            if error.reply is not None and (complaint := self._complaint(error.reply)):
                raise ReportedError(complaint) from None
            raise
        self._require_accepted(reply)
        if complaint := self._complaint(reply):
            raise ReportedError(complaint)
        content = reply.json()
        if not isinstance(content, dict) or content.get("success") is not True:
            raise RejectedRequestError(
                f"the reply is not one of the service's (HTTP {reply.status}): is MT5_SERVICE_URL right?"
            )
        if content.get("account_id") is not None and str(content["account_id"]) != account:
            raise RejectedRequestError("the reply is about another account")
        return content

    def _attempt(self, target: str, deadline: float) -> Reply:
        reply = self._http.get(target, self._headers, deadline)
        if reply.status < 400:
            reply.json()  # if the reply is not JSON, try again as well
        return reply

    def _require_accepted(self, reply: Reply) -> None:
        if reply.status in (401, 403):
            raise RejectedKeyError(f"the service does not accept {self._secret_names} (HTTP {reply.status})")

    def _headers(self, _: str) -> dict[str, str]:
        return self._secret_headers

    def _complaint(self, reply: Reply) -> str | None:
        """The error that the API reports, if any, masked because it may quote the request."""
        try:
            content = reply.json()
        except UnavailableError:
            return None
        if not isinstance(content, dict) or content.get("success") is not False:
            return None if reply.status < 400 else f"the service answers HTTP {reply.status}"
        words = [str(content[name]) for name in ("error_code", "error_message") if content.get(name)]
        return self._http.masked(": ".join(words) or f"the service reports a failure (HTTP {reply.status})")


def _iso(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _items(content: dict[str, Any], name: str) -> list[Any]:
    items = content.get(name)
    if not isinstance(items, list):
        raise RejectedRequestError(f"the reply has no list of {name}")
    return items
