"""The forms that items of the API's replies must have to land, and the listings they make.

An item can land if its ticket is valid and its numbers and times can be read. SQL decides later what they mean.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError

from extract.rejects import MOST_KEPT, Reject, digest

FIRST_MOMENT = datetime(1970, 1, 1, tzinfo=timezone.utc)
LAST_MOMENT = datetime(2100, 1, 1, tzinfo=timezone.utc)
DATE_AND_TIME = TypeAdapter(datetime)
ENTRIES = {"0": "in", "1": "out", "2": "inout", "3": "out_by"}
"""The terminal's ENUM_DEAL_ENTRY."""
OPERATIONS = ("balance", "deposit", "withdrawal", "credit", "charge", "correction", "bonus", "interest", "tax")
"""Words for rows of the history that move money without a trade; so do those that begin like OPERATIONS_BEGIN."""
OPERATIONS_BEGIN = ("commission", "agent", "dividend")
CANCELED = {"13", "14", "buy_canceled", "sell_canceled"}
"""Types of a deal that the broker took back."""
SIDES = {"0", "1", "buy", "sell"}

Key = tuple[str, str]
"""The key of an item: its ticket (of a position: its identifier), and what tells parts under one ticket apart."""


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


def _entry(value: object) -> str:
    word = str(value).lower().removeprefix("deal_entry_")
    word = ENTRIES.get(word, word)
    if isinstance(value, bool) or word not in ENTRIES.values():
        raise ValueError("is not one of 0 (in), 1 (out), 2 (inout), 3 (out_by)")
    return word


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
OtherTicket = Annotated[str | None, BeforeValidator(lambda value: None if value in (None, "") else _ticket(value))]


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
    """The fields that positions and past trades share. `identifier` stays where the ticket of a position changes."""

    ticket: Ticket = Field(validation_alias=AliasChoices("ticket", "position_id", "identifier"))
    identifier: OtherTicket = None
    position_id: OtherTicket = None
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

    @property
    def key(self) -> Key:
        """What identifies the position for good."""
        lasting = [each for each in (self.identifier, self.position_id) if each and each.strip("0")]
        return (lasting or [self.ticket])[0], ""


class Trade(Deal):
    """The form of a finished trade, or of a finished part of one. `position_id` is its position, if `ticket` is not."""

    close_price: Amount = _either("close_price", "price_close")
    open_time: Moment = _either("open_time", "time_open")
    close_time: Moment = _either("close_time", "time_close")
    fee: Amount = None

    @property
    def key(self) -> Key:
        """Parts of one position may come under its one ticket."""
        return self.ticket, f"{self.close_time} {self.volume}"


class RawDeal(BaseModel):
    """The form of a deal of the terminal, as `history_deals_get` gives it."""

    ticket: Ticket
    position_id: OtherTicket = None
    symbol: Annotated[str, Field(strict=True)]
    type: Annotated[str, Field(strict=True)] | Annotated[int, Field(strict=True)]
    entry: Annotated[str, BeforeValidator(_entry)]
    volume: Number
    price: Amount = None
    time: Moment = Field(default=None, validation_alias=AliasChoices("time", "close_time", "time_close"))
    time_msc: Amount = None
    profit: Amount = None
    swap: Amount = None
    commission: Amount = None
    fee: Amount = None
    comment: Text = None

    @property
    def key(self) -> Key:
        """A deal has a ticket of its own."""
        return self.ticket, ""


class Operation(BaseModel):
    """The form of a balance operation: a deposit, a withdrawal, a credit, a correction, …; it belongs to no trade."""

    ticket: Ticket
    profit: Number = Field(validation_alias=AliasChoices("profit", "amount"))
    time: Moment = Field(default=None, validation_alias=AliasChoices("time", "close_time", "time_close", "open_time"))
    time_msc: Amount = None
    swap: Amount = None
    commission: Amount = None
    fee: Amount = None
    comment: Text = None

    @property
    def key(self) -> Key:
        """An operation has a ticket of its own."""
        return self.ticket, ""


def form_of_history(item: Any) -> type[Trade] | type[RawDeal] | type[Operation]:
    """The form for a row of the history: the same rule as `staging.mt5_kind`."""
    if not isinstance(item, dict) or isinstance(item.get("type"), list | dict | bool | float):
        return Trade  # which it is not: the reject says why
    kind = str(item.get("type", "")).lower().replace("deal_type_", "")
    if kind not in CANCELED and (
        (kind.isdecimal() and kind not in SIDES) or kind in OPERATIONS or kind.startswith(OPERATIONS_BEGIN)
    ):
        return Operation
    if item.get("symbol") in (None, "") and kind not in CANCELED and (kind not in SIDES or not item.get("volume")):
        return Operation
    return RawDeal if item.get("entry") is not None else Trade


@dataclass
class HistoryPart:
    """What has been read of a history: its rows `began` to `offset`, of those from `since` to `until`.

    If a read ends early, the next one goes on from `offset`, so progress is made however small the pages are.
    """

    since: datetime
    until: datetime
    offset: int = 0
    began: int = 0


@dataclass
class Listing:
    """The reply of one endpoint about one account.

    Attributes:
        items: key -> the item as JSON. `info` has one item, with an empty key.
        rejects: (key, field) -> an item that cannot land; at most MOST_KEPT of them.
        not_kept: how many more rejects there were.
        failure: why the rest could not be read; None if all was read.
        is_answer: whether the API itself answered, though perhaps with a failure.
        is_down: whether the failure concerns the API as a whole: it does not answer, or rejects the key.
        part: of a history, what was asked for and how much of it has been read.
    """

    items: dict[Key, str] = field(default_factory=dict)
    rejects: dict[tuple[str, str], Reject] = field(default_factory=dict)
    not_kept: int = 0
    failure: str | None = None
    is_answer: bool = True
    is_down: bool = False
    part: HistoryPart | None = None

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
        """Whether everything was read, from the beginning, and every reject was kept."""
        return self.failure is None and not self.not_kept and not (self.part and self.part.began)

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


def sort_in(listing: Listing, items: list[Any], kind: type[Position] | None = None) -> list[Key]:
    """Add items of a reply to the listing; return the keys of those that can land. Without a kind: of a history."""
    keys = []
    for item in items:
        payload = json.dumps(item)
        try:
            key = (kind or form_of_history(item)).model_validate(item).key
        except ValidationError as error:
            ticket = item.get("ticket") if isinstance(item, dict) else None
            has_ticket = isinstance(ticket, int) and not isinstance(ticket, bool) and abs(ticket) < 10**20
            listing.reject(Reject(str(ticket) if has_ticket else digest(payload), *fault(error), payload))
        else:
            listing.items[key] = payload
            keys.append(key)
    return keys


def fault(error: ValidationError) -> tuple[str, str]:
    """Field and reason of the first thing that is wrong, in one line without the value."""
    first = error.errors(include_input=False, include_url=False)[0]
    place = str(first["loc"][0]) if first["loc"] else "item"
    reason = first["msg"].removeprefix("Value error, ")
    return place, reason[:1].lower() + reason[1:]
