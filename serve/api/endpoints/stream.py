"""The stream of changes."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from serve.api import schemas
from serve.api.access import Caller
from serve.api.announcements import Announcement
from serve.api.errors import ApiError
from serve.api.parameters import Listening, require, require_symbol, require_timeframe, symbol_named, timeframe_named
from serve.api.service import Api, api_of, counted, planned, router
from serve.api.stream import EventStream, Subscription, resumed_at

ROUTER = router()


def _subscription(api: Api, request: Request, caller: Caller) -> Subscription:
    asked = Listening.read(request)
    require(caller.stream, caller, api.project, "the stream")
    symbols = list(api.project.symbols)
    timeframes = list(api.project.timeframes)
    if asked.symbols is not None:
        symbols = [symbol_named(name, api.project) for name in asked.symbols.split(",")]
    if asked.timeframes is not None:
        timeframes = [timeframe_named(name, api.project) for name in asked.timeframes.split(",")]
    for symbol in symbols:
        require_symbol(caller, api.project, symbol)
    for timeframe in timeframes:
        require_timeframe(caller, api.project, timeframe)
    wanted = {
        api.project.table(symbol, timeframe): (symbol.upper(), timeframe)
        for symbol in symbols
        for timeframe in timeframes
    }
    return Subscription(wanted, caller.limited_as)


async def stream(request: Request) -> Response:
    """Events: one per committed tick, with the changed tables the caller asked for. `Last-Event-ID` resumes."""
    api = api_of(request)
    caller, subscription = await planned(request, _subscription)
    allowance = await api.take(caller)
    with counted(allowance):
        since = resumed_at(request.headers.get("last-event-id"))
        api.hub.add(subscription)
        if since is not None:
            try:
                missed, newest = await api.versions.changed_since(since, subscription.tables)
            except ApiError:
                api.hub.remove(subscription)
                raise
            if missed:
                subscription.offer_first(Announcement(extracted_at=newest.isoformat(timespec="microseconds")), missed)

    async def still_allowed() -> None:
        if not (await api.access.caller(request)).stream:
            raise ApiError(403, "the stream is no longer in the tier")

    response = EventStream(api.hub, subscription, still_allowed)
    response.headers.update(allowance.headers)
    return response


ROUTER.add_api_route(
    "/api/stream",
    stream,
    methods=["GET"],
    responses={
        **schemas.FAILURES,
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "Events, without end."},
    },
    openapi_extra=Listening.documented(),
    tags=["candles"],
)
