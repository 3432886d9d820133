"""The application: `create_app` makes it of its parts."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException

from extract.settings import Project, load_project
from serve.api.access import Access
from serve.api.announcements import Listener
from serve.api.cache import Cache
from serve.api.database import Database
from serve.api.endpoints import admin, candles, health, market, metrics, overview, stream
from serve.api.errors import ApiError, answer_error, answer_http_exception
from serve.api.front import Front
from serve.api.limits import Limiter
from serve.api.metrics import Metrics
from serve.api.pages import routes
from serve.api.pages.sessions import Sessions
from serve.api.redis_store import RedisStore
from serve.api.service import Api
from serve.api.settings import ApiSettings
from serve.api.stream import Hub
from serve.api.versions import Versions

DESCRIPTION = "Bars, indicators and confluence as the pipeline keeps them. docs/api.md says more."


KEYS = {
    "BearerKey": {"type": "http", "scheme": "bearer"},
    "HeaderKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


class _Application(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The document, with the two ways to send a key, or none."""
        document = super().openapi()
        document["components"]["securitySchemes"] = KEYS
        document["security"] = [{}, *({name: []} for name in KEYS)]
        return document


def create_app(
    settings: ApiSettings,
    dsn: str,
    project: Project | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> FastAPI:
    """Make the application.

    Args:
        settings: of the API.
        dsn: libpq connection string of the warehouse, which may be away.
        project: the lists; those of dbt_project.yml if not given.
        clock: monotonic seconds.

    Returns:
        The ASGI application; its parts are `app.state.api`, a `serve.api.service.Api`.
    """
    project = project or load_project()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        api = _parts(settings, dsn, project, clock)
        app.state.api = api
        app.state.metrics = Metrics(api, clock)
        await api.database.open()
        api.listener.start(api.heard)
        yield
        await api.listener.stop()
        await api.database.close()
        if api.redis:
            await api.redis.close()

    app = _Application(
        title="Tradehouse",
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_exception_handler(ApiError, answer_error)
    app.add_exception_handler(HTTPException, answer_http_exception)
    app.add_middleware(Front)
    for module in (candles, market, overview, health, stream, admin, metrics, routes):
        app.include_router(module.ROUTER)
    return app


def _parts(settings: ApiSettings, dsn: str, project: Project, clock: Callable[[], float]) -> Api:
    database = Database(dsn, settings.api_connections, settings.api_query_seconds, clock)
    versions = Versions(database, project, clock)
    redis = RedisStore(settings.redis_url.get_secret_value(), clock) if settings.redis_url else None
    secret = settings.api_cookie_secret.get_secret_value() if settings.api_cookie_secret else None
    return Api(
        settings=settings,
        project=project,
        database=database,
        versions=versions,
        cache=Cache(database, versions, redis, settings.api_memory_mb * 1_000_000, clock),
        redis=redis,
        access=Access(
            database, project, closed=settings.api_without_key == "closed", sessions=Sessions(secret), clock=clock
        ),
        limiter=Limiter(redis, clock),
        hub=Hub(settings.api_streams, settings.api_streams_per_caller),
        listener=Listener(dsn),
    )
