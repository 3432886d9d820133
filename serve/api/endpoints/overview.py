"""The overview: every symbol and timeframe of the caller's tier at a glance."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from serve.api import schemas
from serve.api.access import Caller
from serve.api.parameters import NoParameters
from serve.api.service import Api, router, uncached

ROUTER = router()


def overview(_: Api, request: Request, caller: Caller) -> tuple[Any, ...]:
    """Newest bar, lag, change of the day and confluence of all that the caller's tier sees."""
    NoParameters.read(request)
    return (caller.tier,)


# not cached: what is late changes with the clock
ROUTER.add_api_route(
    "/api/overview",
    uncached(b"select api.overview(%s)", overview),
    methods=["GET"],
    responses=schemas.answers(schemas.Success, cached=False),
    openapi_extra=NoParameters.documented(),
    tags=["candles"],
)
