"""The client of the API beside the MT5 terminals: its requests, and which items of the replies can land.

An item can land if its ticket is valid and its numbers and times can be read. SQL decides later what they mean.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from pydantic import AliasChoices, BaseModel, BeforeValidator, Field, SecretStr, TypeAdapter, ValidationError

from extract.rejects import MOST_KEPT, Reject, digest
from extract.rest import HttpClient, Reply, ServiceError, UnavailableError

PAGE = 1000
"""Trades per page, the most the API allows."""
MOST_PAGES = 100
"""The most pages of one account in one run, so that an API that always has one more cannot block a run."""
CLOCKS_APART = timedelta(days=1)
"""Terminals use their broker's clock for trades, which may be most of a day ahead of UTC or behind it."""
FIRST_MOMENT = datetime(1970, 1, 1, tzinfo=timezone.utc)
LAST_MOMENT = datetime(2100, 1, 1, tzinfo=timezone.utc)
DATE_AND_TIME = TypeAdapter(datetime)


class RejectedRequestError(ServiceError):
    """The API rejects the request, or its reply does not have the expected form."""


def _moment(value: object) -> object:
    """A time given as Unix seconds or ISO 8601, between 1970 and 2100."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str) and "-" in value:  # without a dash, pydantic would read digits as seconds
            found = DATE_AND_TIME.validate_python(value)
            found = found if found.tzinfo else found.replace(tzinfo=timezone.utc)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found = datetime.fromtimestamp(value, timezone.utc)
        else:
            raise ValueError
    except (ValueError, OverflowError, OSError):
        raise ValueError("is neither Unix seconds nor ISO 8601") from None
    if not FIRST_MOMENT <= found < LAST_MOMENT:
        raise ValueError("is not between 1970 and 2100")
    return found


def _ticket(value: object) -> str:
    text = str(value)
    if isinstance(value, bool) or not (isinstance(value, int | str) and text.isascii() and text.isdecimal()):
        raise ValueError("is not a ticket number")
    if len(text) > 20:
        raise ValueError("has more than 20 digits")
    return text


Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Amount = Number | None
Text = Annotated[str, Field(strict=True)] | None
Moment = Annotated[datetime | None, BeforeValidator(_moment)]
Ticket = Annotated[str, BeforeValidator(_ticket)]


def _either(ours: str, native: str) -> Any:
    """A field under the API's name or the terminal's name; it may be missing."""
    return Field(default=None, validation_alias=AliasChoices(ours, native))


class Info(BaseModel):
    """The form that `info` must have. Amounts are in the account's currency."""

    balance: Number
    equity: Number
    margin: Amount = None
    free_margin: Amount = _either("free_margin", "margin_free")
    margin_level: Amount = None
    currency: Text = None
    leverage: Amount = None
    profit: Amount = None
    credit: Amount = None


class Deal(BaseModel):
    """The fields that positions and past trades share."""

    ticket: Ticket = Field(validation_alias=AliasChoices("ticket", "position_id"))
    symbol: Annotated[str, Field(strict=True)]
    type: Annotated[str, Field(strict=True)] | Annotated[int, Field(strict=True)]
    volume: Number
    open_price: Amount = _either("open_price", "price_open")
    stop_loss: Amount = _either("sl", "stop_loss")
    take_profit: Amount = _either("tp", "take_profit")
    profit: Amount = None
    swap: Amount = None
    commission: Amount = None
    comment: Text = None


class Position(Deal):
    """The form that an item of `positions` must have."""

    current_price: Amount = _either("current_price", "price_current")
    open_time: Moment = _either("open_time", "time")


class Trade(Deal):
    """The form that an item of `history` must have. `position_id` is the position it closed, if `ticket` is not."""

    position_id: Annotated[str | None, BeforeValidator(lambda value: None if value is None else _ticket(value))] = None
    close_price: Amount = _either("close_price", "price_close")
    open_time: Moment = _either("open_time", "time_open")
    close_time: Moment = _either("close_time", "time_close")


@dataclass
class Listing:
    """The reply of one endpoint about one account.

    Attributes:
        items: ticket -> the item as JSON. `info` has one item, with an empty ticket.
        rejects: (key, field) -> an item that cannot land; at most MOST_KEPT of them.
        not_kept: how many more rejects there were.
        failure: why the rest could not be read; None if all was read.
    """

    items: dict[str, str] = field(default_factory=dict)
    rejects: dict[tuple[str, str], Reject] = field(default_factory=dict)
    not_kept: int = 0
    failure: str | None = None

    def reject(self, reject: Reject) -> None:
        """Keep a reject, once per key and field. If MOST_KEPT are kept already, only count it."""
        place = reject.key, reject.field
        if len(self.rejects) < MOST_KEPT or place in self.rejects:
            self.rejects.setdefault(place, reject)
        else:
            self.not_kept += 1

    @property
    def rejected(self) -> int:
        """How many items cannot land."""
        return len(self.rejects) + self.not_kept

    @property
    def is_whole(self) -> bool:
        """Whether everything was read and every reject was kept."""
        return self.failure is None and not self.not_kept

    @property
    def error(self) -> str | None:
        """Why something is missing, with the first reject; None if nothing is missing."""
        if self.failure or not self.rejected:
            return self.failure
        not_kept = f", of which {self.not_kept:,} are not kept" if self.not_kept else ""
        if not self.rejects:  # a person has dismissed those that were kept
            return f"{self.not_kept:,} more rejects{not_kept}"
        first, others = next(iter(self.rejects.values())), self.rejected - 1
        place = f" of ticket {first.key}" if first.key.isdecimal() else ""
        return f"{first.field}{place}: {first.reason}" + (f", and {others:,} more rejects{not_kept}" if others else "")


class AccountClient:
    """The client of the API.

    Args:
        http: sends the requests.
        key: the API key.
    """

    def __init__(self, http: HttpClient, key: SecretStr) -> None:
        self._http = http
        self._key = key

    def info(self, account: str, deadline: float = math.inf) -> Listing:
        """Balance and margins; `deadline`, here and below, is on the monotonic clock.

        This raises no error of the API; the listing's `failure` holds it.
        """
        return self._listed(lambda listing: self._info(listing, account, deadline))

    def positions(self, account: str, deadline: float = math.inf) -> Listing:
        """The open positions."""
        return self._listed(lambda listing: self._positions(listing, account, deadline))

    def history(self, account: str, since: datetime, until: datetime, deadline: float = math.inf) -> Listing:
        """The trades closed from `since` to `until`, from all pages; pages read before a failure are kept."""
        return self._listed(lambda listing: self._history(listing, account, since, until, deadline))

    def health(self) -> float:
        """Ask the API whether it is up; return the seconds that took.

        Raises:
            ServiceError: it is not.
        """
        started = time.monotonic()
        reply = self._http.retrying(lambda: self._http.get("/health", self._headers))
        if reply.status != 200:
            raise RejectedRequestError(f"{self._http.address} answers HTTP {reply.status}: is MT5_SERVICE_URL right?")
        return time.monotonic() - started

    def _listed(self, read: Callable[[Listing], None]) -> Listing:
        listing = Listing()
        try:
            read(listing)
        except ServiceError as error:
            listing.failure = str(error)
        return listing

    def _info(self, listing: Listing, account: str, deadline: float) -> None:
        data = self._ask(account, "info", {}, deadline).get("data")
        if not isinstance(data, dict):
            raise RejectedRequestError("the reply has no data")
        payload = json.dumps(data)
        try:
            Info.model_validate(data)
        except ValidationError as error:
            listing.reject(Reject("", *_fault(error), payload))
        else:
            listing.items[""] = payload

    def _positions(self, listing: Listing, account: str, deadline: float) -> None:
        _sort_in(listing, self._ask(account, "positions", {}, deadline), "positions", Position)

    def _history(self, listing: Listing, account: str, since: datetime, until: datetime, deadline: float) -> None:
        offset = 0
        for _ in range(MOST_PAGES):
            content = self._ask(
                account,
                "history",
                {"from_date": _iso(since), "to_date": _iso(until), "limit": PAGE, "offset": offset},
                deadline,
            )
            count = _sort_in(listing, content, "trades", Trade)
            pagination = content.get("pagination") or {}
            if not isinstance(pagination, dict):
                raise RejectedRequestError("pagination is no object")
            if not pagination.get("has_more"):
                return
            if count == 0:
                raise RejectedRequestError(f"there is more after {offset} trades, but the next page is empty")
            offset += count
        raise RejectedRequestError(
            f"there are more than {MOST_PAGES} pages: the first {offset:,} trades have been read"
        )

    def _ask(self, account: str, endpoint: str, query: dict[str, object], deadline: float) -> dict[str, Any]:
        """Send one request; return its reply, checked to be a success and about this account."""
        target = f"/api/mt5/account/{quote(account, safe='')}/{endpoint}"
        if query:
            target += "?" + urlencode(query)
        try:
            reply = self._http.retrying(lambda: self._attempt(target, deadline), deadline)
        except UnavailableError as error:
            if error.reply is not None and (complaint := self._complaint(error.reply)):
                raise RejectedRequestError(complaint) from None
            raise
        if complaint := self._complaint(reply):
            raise RejectedRequestError(complaint)
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

    def _headers(self, _: str) -> dict[str, str]:
        return {"X-API-Key": self._key.get_secret_value()}

    def _complaint(self, reply: Reply) -> str | None:
        """The error that the API reports, if any, masked because it may quote the request."""
        if reply.status in (401, 403):
            return f"the service does not accept MT5_SERVICE_API_KEY (HTTP {reply.status})"
        try:
            content = reply.json()
        except UnavailableError:
            return None
        if not isinstance(content, dict) or content.get("success") is not False:
            return None if reply.status < 400 else f"the service answers HTTP {reply.status}"
        words = [str(content[name]) for name in ("error_code", "error_message") if content.get(name)]
        return self._http.masked(": ".join(words) or f"the service reports a failure (HTTP {reply.status})")


def _sort_in(listing: Listing, content: dict[str, Any], name: str, kind: type[Position] | type[Trade]) -> int:
    """Add the items of a reply to the listing; return how many there were."""
    items = content.get(name)
    if not isinstance(items, list):
        raise RejectedRequestError(f"the reply has no list of {name}")
    for item in items:
        payload = json.dumps(item)
        try:
            listing.items[kind.model_validate(item).ticket] = payload
        except ValidationError as error:
            ticket = item.get("ticket") if isinstance(item, dict) else None
            has_ticket = isinstance(ticket, int) and not isinstance(ticket, bool) and abs(ticket) < 10**20
            key = str(ticket) if has_ticket else digest(payload)
            listing.reject(Reject(key, *_fault(error), payload))
    return len(items)


def _fault(error: ValidationError) -> tuple[str, str]:
    """Field and reason of the first thing that is wrong, in one line without the value."""
    first = error.errors(include_input=False, include_url=False)[0]
    place = str(first["loc"][0]) if first["loc"] else "item"
    reason = first["msg"].removeprefix("Value error, ")
    return place, reason[:1].lower() + reason[1:]


def _iso(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
