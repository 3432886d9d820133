"""Instruments of the Indian market, and their bars with indicators. All of it is cached."""

from __future__ import annotations

from starlette.requests import Request

from serve.api import schemas
from serve.api.access import Caller
from serve.api.cache import Question
from serve.api.parameters import MarketBars, Sought, instrument_named, market_timeframe_named, require
from serve.api.service import Api, add_cached, router
from serve.api.versions import MARKET

ROUTER = router()


def instruments(api: Api, request: Request, caller: Caller) -> Question:
    """Search instruments by trading symbol or name, the likeliest first."""
    require(caller.market, caller, api.project, "the Indian market")
    asked = Sought.read(request)
    search = asked.search.lower()
    return Question(
        f"instruments {asked.limit} {search}",
        (MARKET,),
        b"select api.market_instruments(%s, %s)",
        (search, asked.limit),
        f"no instrument has {search!r} in its name",
        follows=False,
    )


def bars(api: Api, request: Request, caller: Caller) -> Question:
    """Bars of an instrument with their indicators, the newest ones or those before a time."""
    require(caller.market, caller, api.project, "the Indian market")
    instrument = instrument_named(request.path_params["instrument"])
    timeframe = market_timeframe_named(request.path_params["timeframe"], api.project)
    asked = MarketBars.read(request)
    until = asked.before.isoformat() if asked.before else ""
    return Question(
        f"market {timeframe} {asked.limit} {until} {instrument}",
        (MARKET,),
        b"select api.market_bars(%s, %s, %s, %s)",
        (instrument, timeframe, asked.limit, asked.before),
        f"{instrument.upper()} {timeframe} has no bars" + (f" before {until}" if until else ""),
        follows=asked.before is None,
    )


add_cached(
    ROUTER,
    "market",
    ("/api/market/instruments", instruments, Sought.documented(), schemas.Instruments),
    (
        "/api/market/{instrument}/{timeframe}",
        bars,
        MarketBars.documented("instrument", "market_timeframe"),
        schemas.MarketBars,
    ),
)
