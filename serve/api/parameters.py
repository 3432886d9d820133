"""Parameters of requests: read, checked, and described for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.requests import Request

from extract.settings import Project, symbol_of
from serve.api.access import Caller, forbidden
from serve.api.errors import ApiError
from serve.api.settings import lower

MOST_BARS = 5000
MOST_INSTANTS = 2000
MOST_OFFSET = 10_000_000
MOST_INSTRUMENTS = 100
LONGEST_NAME = 100


def _in_utc(value: datetime) -> datetime:
    """A time without a zone is UTC."""
    try:
        moment = value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)
    except OverflowError:
        raise ValueError("expected a time within the calendar") from None
    if not 1970 <= moment.year <= 9998:
        raise ValueError("expected a time from 1970 on")
    return moment


def _one_line(value: str) -> str:
    """Text that is searched for, without blanks around it."""
    if not value.strip() or not value.isprintable():
        raise ValueError("expected a part of a trading symbol or name")
    return value.strip()


Moment = Annotated[datetime, AfterValidator(_in_utc)]
AnyParameters = TypeVar("AnyParameters", bound="Parameters")


class Parameters(BaseModel):
    """Query parameters. Each is given at most once, and no other is taken."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def read(cls: type[AnyParameters], request: Request) -> AnyParameters:
        """The parameters of a request.

        Raises:
            ApiError: 400 that names every fault and what is allowed.
        """
        given = request.query_params.multi_items()
        values = dict(given)
        faults = [f"{name}: given more than once" for name in values if sum(name == each for each, _ in given) > 1]
        try:
            found = cls.model_validate(values)
        except ValidationError as error:
            faults += [cls._fault(each) for each in error.errors(include_url=False, include_context=False)]
        if faults:
            raise ApiError(400, "; ".join(faults))
        return found

    @classmethod
    def _fault(cls, fault: Any) -> str:
        name = str(fault["loc"][0])
        if fault["type"] == "extra_forbidden":
            return f"{name[:40]!r} is no parameter here; allowed: {', '.join(cls.model_fields) or 'none'}"
        return f"{name}: {fault['msg'].removeprefix('Value error, ')}"

    @classmethod
    def documented(cls, *path: str) -> dict[str, Any]:
        """The parameters as an OpenAPI operation lists them, those of the path first."""
        schema = cls.model_json_schema()
        query = [
            {
                "name": name,
                "in": "query",
                "required": name in schema.get("required", []),
                "description": part.pop("description", ""),
                "schema": part,
            }
            for name, part in schema.get("properties", {}).items()
        ]
        return {"parameters": [*(_PATH[name] for name in path), *query]}


class NoParameters(Parameters):
    """None."""


class Bars(Parameters):
    """Of /api/indicators."""

    limit: int = Field(default=1000, ge=1, le=MOST_BARS, description="How many bars, the newest ones.")
    before: Moment | None = Field(default=None, description="Only bars that opened before this time, to page back.")
    bars: Annotated[Literal["sampled", "resampled"], BeforeValidator(lower)] = Field(
        default="sampled", description="`sampled`: as stored. `resampled`: true candles from the finest bars."
    )


class Sought(Parameters):
    """Of /api/market/instruments."""

    search: Annotated[str, AfterValidator(_one_line)] = Field(
        max_length=LONGEST_NAME, description="What the trading symbol or the name has in it, in any case."
    )
    limit: int = Field(default=20, ge=1, le=MOST_INSTRUMENTS, description="At most so many instruments.")


class MarketBars(Parameters):
    """Of /api/market/{instrument}/{timeframe}."""

    limit: int = Field(default=1000, ge=1, le=MOST_BARS, description="How many bars, the newest ones.")
    before: Moment | None = Field(default=None, description="Only bars that opened before this time, to page back.")


class At(Parameters):
    """Of /api/confluence/{symbol}."""

    timestamp: Moment | None = Field(default=None, description="The instant; now, where it is left out.")


class Two(Parameters):
    """Of /api/confluence/{symbol}/compare."""

    timestamp1: Moment = Field(description="The one instant.")
    timestamp2: Moment = Field(description="The other.")


class Span(Parameters):
    """Of /api/confluence/{symbol}/history."""

    start: Moment = Field(alias="from", description="The first instant.")
    end: Moment | None = Field(default=None, alias="to", description="No instant after this time; now, by default.")
    step: str = Field(default="H1", description="Between two instants: the name of a timeframe.")


class Listening(Parameters):
    """Of /api/stream."""

    symbols: str | None = Field(default=None, description="Symbols with commas between them; all, by default.")
    timeframes: str | None = Field(default=None, description="Timeframes with commas between them; all, by default.")


class Page(Parameters):
    """Of lists."""

    limit: int = Field(default=100, ge=1, le=1000, description="How many rows.")
    offset: int = Field(default=0, ge=0, le=MOST_OFFSET, description="How many rows to leave out before them.")


def _path(name: str, description: str, example: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string", "example": example},
    }


_PATH = {
    "symbol": _path("symbol", "In any case, with or without the broker's suffix.", "EURUSD"),
    "timeframe": _path("timeframe", "In any case.", "H1"),
    "instrument": _path("instrument", "An instrument_id, or a trading symbol in any case.", "RELIANCE"),
    "market_timeframe": _path("timeframe", "In any case.", "1d"),
}


def _unknown(what: str, name: str, names: Iterable[str]) -> ApiError:
    """The error for a name that a list does not have."""
    allowed = list(names)
    return ApiError(400, f"unknown {what} {name[:40]!r}; allowed: {', '.join(allowed)}", allowed=allowed)


def symbol_named(name: str, project: Project) -> str:
    """The symbol of this name, lower case.

    Raises:
        ApiError: 400 that lists the symbols.
    """
    found = symbol_of(name.strip(), project.symbols)
    if found is None:
        raise _unknown("symbol", name, map(str.upper, project.symbols))
    return found


def timeframe_named(name: str, project: Project, what: str = "timeframe") -> str:
    """The timeframe of this name, upper case.

    Raises:
        ApiError: 400 that lists the timeframes.
    """
    found = name.strip().upper()
    if found not in project.timeframes:
        raise _unknown(what, name, project.timeframes)
    return found


def instrument_named(name: str) -> str:
    """An instrument_id or trading symbol, lower case; whether there is such an instrument, the warehouse knows.

    Raises:
        ApiError: 400 where it can be neither.
    """
    found = name.strip().lower()
    if not found or len(found) > LONGEST_NAME or not found.isprintable():
        raise ApiError(400, f"unknown instrument {name[:40]!r}; expected an instrument_id or a trading symbol")
    return found


def market_timeframe_named(name: str, project: Project) -> str:
    """The timeframe of the market of this name, lower case.

    Raises:
        ApiError: 400 that lists them.
    """
    found = name.strip().lower()
    if found not in project.market_timeframes:
        raise _unknown("timeframe", name, project.market_timeframes)
    return found


def require_symbol(caller: Caller, project: Project, symbol: str) -> None:
    """Raise 403 where the caller's tier does not see the symbol."""
    if symbol not in caller.symbols:
        raise forbidden(caller, project, f"{symbol.upper()} is not in the tier {caller.tier}")


def require_timeframe(caller: Caller, project: Project, timeframe: str) -> None:
    """Raise 403 where the caller's tier does not see the timeframe."""
    if timeframe not in caller.timeframes:
        raise forbidden(caller, project, f"{timeframe} is not in the tier {caller.tier}")


def require(right: bool, caller: Caller, project: Project, what: str) -> None:
    """Raise 403 where the caller's tier lacks a right."""
    if not right:
        raise forbidden(caller, project, f"{what} is not in the tier {caller.tier}")
