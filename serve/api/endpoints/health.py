"""Health: of the API's parts and of the data. Open to everybody, and not counted."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from serve.api import schemas
from serve.api.errors import NO_STORE, ApiError
from serve.api.parameters import NoParameters
from serve.api.redis_store import RedisAwayError
from serve.api.service import Api, api_of, respond, router

ROUTER = router()
State = dict[str, Any]

POSTGRESQL = b"""
    select json_build_object(
        'tables',
        (select count(*) from unnest(%s::text[]) as name where to_regclass(format('public.%%I', name)) is not null),
        'version', current_setting('server_version'),
        'timescaledb_version', (select extversion from pg_extension where extname = 'timescaledb')
    )
"""
SYNC = b"""
    select json_build_object(
        'success', coalesce(bool_and(verdict in ('current', 'running')), false),
        'sources', coalesce(json_agg(json_build_object(
            'source', source, 'verdict', verdict, 'last_ended_at', last_ended_at, 'last_success_at', last_success_at,
            'due_again_at', due_again_at
        ) order by source), '[]')
    )
    from ops.source_health
"""


async def postgresql(api: Api) -> State:
    """Whether the warehouse answers, and how fast."""
    started = time.perf_counter()
    found = await _one(api, POSTGRESQL, [list(api.project.candle_tables)])
    return {
        "success": True,
        "connected": True,
        "latency_ms": round((time.perf_counter() - started) * 1000, 2),
        "listening": api.listener.listening.is_set(),
        **found,
    }


async def redis(api: Api) -> State:
    """Whether Redis answers, where there is one."""
    counters = {**vars(api.cache.counters), "errors": api.redis.errors if api.redis else 0}
    if api.redis is None:
        return {"success": True, "configured": False, "connected": False, "answers": counters}
    started = time.perf_counter()
    try:
        await api.redis.ping()
    except RedisAwayError:
        failed = {"success": False, "error": "Redis does not answer; answers come from memory and the warehouse"}
        return {**failed, "configured": True, "connected": False, "answers": counters}
    latency = round((time.perf_counter() - started) * 1000, 2)
    return {"success": True, "configured": True, "connected": True, "latency_ms": latency, "answers": counters}


async def sync(api: Api) -> State:
    """Whether every source is current."""
    return await _one(api, SYNC, [])


async def sqlite(api: Api) -> State:
    """When the collector last wrote its file, in milliseconds, as the last run saw it."""
    return await _one(api, b"select api.sqlite_health()", [])


async def indicators(api: Api) -> State:
    """Whether every candle table has the bars it must have."""
    return await _one(api, b"select api.indicators_health()", [])


async def _one(api: Api, sql: bytes, parameters: list[Any]) -> State:
    body = await api.database.value(sql, parameters)
    found: State = json.loads(body) if body else {"success": False, "error": "nothing is known yet"}
    return found


async def _state(api: Api, part: Callable[[Api], Awaitable[State]]) -> State:
    try:
        return await part(api)
    except ApiError as error:
        return {"success": False, "error": str(error)}


def _endpoint(part: Callable[[Api], Awaitable[State]]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        NoParameters.read(request)
        state = await _state(api_of(request), part)
        if part is postgresql:
            state.setdefault("connected", False)
        return _respond(request, state, state["success"])

    endpoint.__name__ = f"{part.__name__}_health"
    endpoint.__doc__ = part.__doc__
    return endpoint


async def health(request: Request) -> Response:
    """All of it: 200 where everything is well, else 503."""
    NoParameters.read(request)
    parts = (postgresql, redis, sync, sqlite, indicators)
    states = await asyncio.gather(*(_state(api_of(request), part) for part in parts))
    # late tables are an answer, and so a success, of their own endpoint
    well = all(state["success"] and state.get("status", "healthy") == "healthy" for state in states)
    return _respond(
        request,
        {"success": well, "status": "healthy" if well else "unhealthy"}
        | {part.__name__: state for part, state in zip(parts, states, strict=True)},
        well,
    )


def _respond(request: Request, state: State, well: bool) -> Response:
    return respond(request, json.dumps(state).encode(), NO_STORE, 200 if well else 503)


for path, endpoint in (
    ("/api/indicators/health", _endpoint(indicators)),
    ("/api/health/sqlite", _endpoint(sqlite)),
    ("/api/health/postgresql", _endpoint(postgresql)),
    ("/api/health/redis", _endpoint(redis)),
    ("/api/health/sync", _endpoint(sync)),
    ("/health", health),
):
    ROUTER.add_api_route(
        path,
        endpoint,
        methods=["GET"],
        responses={
            200: {"model": schemas.Health},
            400: schemas.FAILURES[400],
            500: schemas.FAILURES[500],
            503: {"model": schemas.Health, "description": "Something is not well."},
        },
        tags=["health"],
    )
