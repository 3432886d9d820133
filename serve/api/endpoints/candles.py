"""Symbols, timeframes, bars with indicators, and the confluence. All of it is cached."""

from __future__ import annotations

from datetime import datetime, timezone

from starlette.requests import Request

from serve.api import schemas
from serve.api.access import Caller
from serve.api.cache import Question
from serve.api.errors import ApiError
from serve.api.parameters import (
    MOST_INSTANTS,
    At,
    Bars,
    NoParameters,
    Span,
    Two,
    require,
    require_symbol,
    require_timeframe,
    symbol_named,
    timeframe_named,
)
from serve.api.service import Api, add_cached, router
from serve.api.versions import OHLC

ROUTER = router()

COMPARE = b"""
    select jsonb_build_object(
        'success', true, 'symbol', upper(%s::text), 'first', first.answer, 'second', second.answer,
        'score_change',
        (second.answer ->> 'confluence_score')::numeric - (first.answer ->> 'confluence_score')::numeric
    )
    from signals.confluence(%s, %s) as first (answer), signals.confluence(%s, %s) as second (answer)
    where first.answer is not null and second.answer is not null
"""
HISTORY = b"""
    select json_build_object(
        'success', true, 'symbol', upper(%s::text), 'step', %s::text,
        'history', json_agg(json_build_object(
            'time', extract(epoch from at)::bigint, 'confluence_score', confluence_score,
            'bullish', bullish, 'bearish', bearish, 'neutral', neutral
        ) order by at)
    )
    from signals.confluence_history(%s, %s, %s, make_interval(mins => %s))
    having count(*) > 0
"""


def symbols(_: Api, request: Request, caller: Caller) -> Question:
    """List the symbols of the caller's tier."""
    NoParameters.read(request)
    return Question(f"symbols {caller.tier}", (), b"select api.symbols(%s)", (caller.tier,), f"tier {caller.tier}")


def timeframes(_: Api, request: Request, caller: Caller) -> Question:
    """List the timeframes of the caller's tier."""
    NoParameters.read(request)
    return Question(
        f"timeframes {caller.tier}", (), b"select api.timeframes(%s)", (caller.tier,), f"tier {caller.tier}"
    )


def indicators(api: Api, request: Request, caller: Caller) -> Question:
    """Bars of a symbol and timeframe with their indicators, the newest ones or those before a time."""
    symbol = symbol_named(request.path_params["symbol"], api.project)
    timeframe = timeframe_named(request.path_params["timeframe"], api.project)
    asked = Bars.read(request)
    require_symbol(caller, api.project, symbol)
    require_timeframe(caller, api.project, timeframe)
    table = api.project.table(symbol, timeframe)
    until = asked.before.isoformat() if asked.before else ""
    return Question(
        f"indicators {table} {asked.limit} {asked.bars} {until} {caller.tier}",
        (table, OHLC) if asked.bars == "resampled" else (table,),
        b"select api.indicators(%s, %s, %s, %s, %s, %s)",
        (symbol, timeframe, asked.limit, asked.before, asked.bars, caller.tier),
        f"{symbol.upper()} {timeframe} has no bars" + (f" before {until}" if until else ""),
        follows=asked.before is None,
    )


def confluence(api: Api, request: Request, caller: Caller) -> Question:
    """The confluence of a symbol at an instant: score, signals, and the 117 values behind them."""
    symbol = symbol_named(request.path_params["symbol"], api.project)
    at = At.read(request).timestamp
    _require_confluence(api, caller, symbol)
    return Question(
        f"confluence {symbol} {at.isoformat() if at else ''}",
        tuple(api.project.tables_of(symbol)),
        b"""select jsonb_build_object('success', true) || signals.confluence(%s, coalesce(%s, now()))""",
        (symbol, at),
        f"{symbol.upper()} has no bars" + (f" at {at.isoformat()}" if at else ""),
        follows=at is None,
    )


def compare(api: Api, request: Request, caller: Caller) -> Question:
    """The confluence of a symbol at two instants."""
    symbol = symbol_named(request.path_params["symbol"], api.project)
    asked = Two.read(request)
    _require_confluence(api, caller, symbol)
    first, second = asked.timestamp1, asked.timestamp2
    return Question(
        f"compare {symbol} {first.isoformat()} {second.isoformat()}",
        tuple(api.project.tables_of(symbol)),
        COMPARE,
        (symbol, symbol, first, symbol, second),
        f"{symbol.upper()} has no bars at one of the instants",
        follows=False,
    )


def history(api: Api, request: Request, caller: Caller) -> Question:
    """The score of a symbol's confluence over time."""
    symbol = symbol_named(request.path_params["symbol"], api.project)
    asked = Span.read(request)
    step = timeframe_named(asked.step, api.project, "step")
    minutes = api.project.timeframes[step]
    end = asked.end or datetime.now(timezone.utc).replace(second=0, microsecond=0)
    _require_confluence(api, caller, symbol)
    if end < asked.start:
        raise ApiError(400, "from: expected a time that is not after `to`")
    instants = int((end - asked.start).total_seconds() // (60 * minutes)) + 1
    if instants > MOST_INSTANTS:
        raise ApiError(
            400, f"{instants} instants are asked for, at most {MOST_INSTANTS} are allowed; take a larger step"
        )
    return Question(
        f"history {symbol} {asked.start.isoformat()} {end.isoformat()} {step}",
        tuple(api.project.tables_of(symbol)),
        HISTORY,
        (symbol, step, symbol, asked.start, end, minutes),
        f"{symbol.upper()} has no bars in this time",
        follows=False,
    )


def _require_confluence(api: Api, caller: Caller, symbol: str) -> None:
    require(caller.confluence, caller, api.project, "the confluence")
    require_symbol(caller, api.project, symbol)


add_cached(
    ROUTER,
    "candles",
    (  # the first to be tried: what is asked most
        "/api/indicators/{symbol}/{timeframe}",
        indicators,
        Bars.documented("symbol", "timeframe"),
        schemas.Indicators,
    ),
    ("/api/symbols", symbols, NoParameters.documented(), schemas.Symbols),
    ("/api/timeframes", timeframes, NoParameters.documented(), schemas.Timeframes),
    ("/api/confluence/{symbol}", confluence, At.documented("symbol"), schemas.Confluence),
    ("/api/confluence/{symbol}/compare", compare, Two.documented("symbol"), schemas.Comparison),
    ("/api/confluence/{symbol}/history", history, Span.documented("symbol"), schemas.History),
)
