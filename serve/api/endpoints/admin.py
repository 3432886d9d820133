"""Trades, accounts, and what the pipeline does: for admin keys, and never cached."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from serve.api import schemas
from serve.api.access import Caller
from serve.api.database import Query
from serve.api.errors import NO_STORE, ApiError
from serve.api.parameters import NoParameters, Page, require
from serve.api.redis_store import RedisAwayError
from serve.api.service import Api, api_of, counted, planned, respond, router, uncached

ROUTER = router()


def _admin(api: Api, request: Request, caller: Caller) -> tuple[Any, ...]:
    """For admin keys."""
    require(caller.is_admin, caller, api.project, "this")
    NoParameters.read(request)
    return ()


def _page(api: Api, request: Request, caller: Caller) -> tuple[Any, ...]:
    """For admin keys, page by page."""
    require(caller.is_admin, caller, api.project, "this")
    asked = Page.read(request)
    return asked.limit, asked.offset


async def clear_cache(request: Request) -> Response:
    """Let no answer count that is in the cache now."""
    api = api_of(request)
    caller, _ = await planned(request, _admin)
    allowance = await api.take(caller)
    api.access.forget()
    with counted(allowance):
        try:
            await api.cache.clear()
        except RedisAwayError:
            raise ApiError(503, "Redis does not answer; only this process's own cache is cleared") from None
    return respond(request, b'{"success": true}', allowance.headers | NO_STORE)


ONE_VALUE: tuple[tuple[str, Query, str], ...] = (
    ("/api/trades/summary", b"select api.trades_summary()", "Totals of the completed trades."),
    ("/api/trades/equity-curve", b"select api.trades_equity_curve()", "Realised profit over time."),
    ("/api/trades/pnl-by-time", b"select api.trades_pnl_by_time()", "Realised profit by day and by hour of exit."),
    ("/api/trades/exit-reasons", b"select api.trades_exit_reasons()", "Completed trades by exit reason."),
    ("/api/trades/open-lots", b"select api.trades_open_lots()", "What is still open."),
    ("/api/accounts", b"select api.accounts()", "MT5 accounts: balances, positions, failures."),
    ("/api/admin/sync/status", b"select api.sync_status()", "State of the sources and their last runs."),
    ("/api/admin/tables/stats", b"select api.table_stats()", "Rows, newest bar and bytes of the candle tables."),
)
for path, sql, summary in ONE_VALUE:
    ROUTER.add_api_route(
        path,
        uncached(sql, _admin),
        methods=["GET"],
        name=path.removeprefix("/api/"),
        summary=summary,
        responses=schemas.answers(schemas.Success, cached=False),
        tags=["admin"],
    )
ROUTER.add_api_route(
    "/api/trades/completed",
    uncached(b"select api.trades_completed(%s, %s)", _page),
    methods=["GET"],
    summary="Completed trades, the newest first.",
    responses=schemas.answers(schemas.Success, cached=False),
    openapi_extra=Page.documented(),
    tags=["admin"],
)
ROUTER.add_api_route(
    "/api/admin/cache/clear",
    clear_cache,
    methods=["POST"],
    responses=schemas.answers(schemas.Success, cached=False),
    tags=["admin"],
)
