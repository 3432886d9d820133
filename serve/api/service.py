"""The parts of a running API, and how each request passes through them: key, rights, 304, rate limit, answer."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from extract.settings import Project
from serve.api import schemas
from serve.api.access import Access, Caller
from serve.api.announcements import Announcement, Listener
from serve.api.cache import Cache, Question
from serve.api.database import Database, Query
from serve.api.errors import NO_STORE, RETRY_AFTER, ApiError, no_data
from serve.api.limits import Allowance, Limiter
from serve.api.redis_store import RedisStore
from serve.api.settings import ApiSettings
from serve.api.stream import Hub
from serve.api.versions import Versions

VARY = {"Vary": "Authorization, X-API-Key, Cookie, Accept-Encoding"}
REFUSES_GZIP = re.compile(r"gzip\s*;\s*q=0(\.0*)?\s*(,|$)")
SMALL = 1000
"""Bytes below which an answer that is not cached is not compressed."""

Planned = TypeVar("Planned")
Plan = Callable[["Api", Request, Caller], Planned]
Handler = Callable[[Request], Awaitable[Response]]


@dataclass
class Api:
    """The parts of a running API."""

    settings: ApiSettings
    project: Project
    database: Database
    versions: Versions
    cache: Cache
    redis: RedisStore | None
    access: Access
    limiter: Limiter
    hub: Hub
    listener: Listener
    _rebuilding: set[asyncio.Task[None]] = field(default_factory=set)

    def heard(self, announcement: Announcement) -> None:
        """Forget versions, tell the streams, and build hot answers again."""
        changed = announcement.tables(self.project)
        if changed == []:
            return
        self.versions.forget(changed)
        self.hub.publish(announcement, self.project)
        task = asyncio.create_task(self.cache.rebuild(changed))
        self._rebuilding.add(task)
        task.add_done_callback(self._rebuilding.discard)

    async def take(self, caller: Caller) -> Allowance:
        """Count a request; raises 429."""
        return await self.limiter.take(caller.limited_as, caller.requests_per_hour)


def api_of(request: Request) -> Api:
    """The parts that serve a request."""
    api: Api = request.app.state.api
    return api


class Endpoint(APIRoute):
    """A route that FastAPI documents. It takes the request as it is, which saves a fifth of a cached answer's time."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """The endpoint itself."""
        handler: Handler = self.endpoint
        return handler


def router() -> APIRouter:
    """A router of such endpoints."""
    return APIRouter(route_class=Endpoint, default_response_class=Response)


async def planned(request: Request, plan: Plan[Planned]) -> tuple[Caller, Planned]:
    """The caller, and what `plan` makes of the request. A request that `plan` rejects is counted.

    Raises:
        ApiError: 401, or 429, or what `plan` raises.
    """
    api = api_of(request)
    caller = await api.access.caller(request)
    try:
        return caller, plan(api, request, caller)
    except ApiError as error:
        error.headers |= (await api.take(caller)).headers
        raise


@contextmanager
def counted(allowance: Allowance) -> Iterator[None]:
    """Add the headers of the rate limit to an error."""
    try:
        yield
    except ApiError as error:
        error.headers |= allowance.headers
        raise


def cached(plan: Plan[Question]) -> Handler:
    """An endpoint whose answers are cached; `plan` makes the question of a request."""

    async def endpoint(request: Request) -> Response:
        api = api_of(request)
        caller, question = await planned(request, plan)
        wanted = request.headers.get("if-none-match")
        if wanted and (version := await api.cache.version(question)) is not None:
            etag = question.etag(version)
            if wanted == "*" or etag.removeprefix("W/") in wanted:
                return Response(status_code=304, headers=_caching(caller, etag))
        allowance = await api.take(caller)
        with counted(allowance):
            answer = await api.cache.answer(question)
        headers = allowance.headers | {"X-Cache": answer.outcome}
        if answer.outcome == "stale":
            return respond(request, answer.compressed, headers | NO_STORE | RETRY_AFTER, status=503)
        return respond(request, answer.compressed, headers | _caching(caller, question.etag(answer.version)))

    return _named(endpoint, plan)


def add_cached(to: APIRouter, tag: str, *routes: tuple[str, Plan[Question], dict[str, Any], type[BaseModel]]) -> None:
    """Add endpoints whose answers are cached: path, plan, documented parameters, and the answer's model of each."""
    for path, plan, parameters, model in routes:
        to.add_api_route(
            path,
            cached(plan),
            methods=["GET"],
            responses=schemas.answers(model),
            openapi_extra=parameters,
            tags=[tag],
        )


def uncached(sql: Query, plan: Plan[tuple[Any, ...]]) -> Handler:
    """An endpoint that asks the warehouse each time; `plan` checks the request and gives the statement's parameters.

    The statement returns one JSON value; 404 where it is NULL.
    """

    async def endpoint(request: Request) -> Response:
        caller, parameters = await planned(request, plan)
        allowance = await api_of(request).take(caller)
        with counted(allowance):
            body = await api_of(request).database.value(sql, parameters)
            if body is None:
                raise no_data("nothing is there yet")
        return respond(request, body, allowance.headers | NO_STORE)

    return _named(endpoint, plan)


def _named(endpoint: Handler, plan: Plan[Any]) -> Handler:
    # `functools.wraps` would make FastAPI look at the signature of the plan
    endpoint.__name__, endpoint.__doc__ = plan.__name__, plan.__doc__
    return endpoint


def respond(request: Request, body: bytes, headers: dict[str, str], status: int = 200) -> Response:
    """A JSON answer, compressed where the client takes it; `body` is JSON or gzip of it."""
    compressed = body[:2] == b"\x1f\x8b"
    accepted = request.headers.get("accept-encoding", "").lower()
    takes_gzip = "gzip" in accepted and not REFUSES_GZIP.search(accepted)
    if takes_gzip and (compressed or len(body) > SMALL):
        headers = headers | {"Content-Encoding": "gzip"}
        body = body if compressed else gzip.compress(body, 1)
    elif compressed:
        body = gzip.decompress(body)
    return Response(body, status, headers=VARY | headers, media_type="application/json")


def _caching(caller: Caller, etag: str) -> dict[str, str]:
    return VARY | {"ETag": etag, "Cache-Control": f"private, max-age={caller.max_age}, must-revalidate"}
