"""Who calls and what they may see: keys from `ops.api_keys`, tiers from `api.tiers`."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request

from extract.settings import Project
from serve.api.database import Database
from serve.api.errors import ApiError, UnavailableError
from serve.api.pages.sessions import COOKIE, Sessions
from serve.api.single_flight import SingleFlight

log = logging.getLogger("tradehouse.api")

BELIEVED_SECONDS = 2.5
"""How long a key is believed; with the streams' own check a revoked key ends within 5 seconds."""
TOUCH_SECONDS = 60.0
KEYS_REMEMBERED = 10_000
LONGEST_KEY = 200

TIER = """
    select
        tier,
        tier = 'ADMIN',
        case t.symbols when '*' then %(symbols)s::text[] else string_to_array(t.symbols, ' ') end,
        case t.timeframes when '*' then %(timeframes)s::text[] else string_to_array(t.timeframes, ' ') end,
        t.confluence,
        t.stream,
        -- tiers that were built before there was a market lack the column
        coalesce((to_jsonb(t) ->> 'market')::boolean, false),
        t.requests_per_hour,
        -- who listens to the stream asks again when told; the others as often as their page does
        case when t.stream then 0 else t.refresh_seconds end
    from ({keys}) as k
    join api.tiers as t using (tier)
"""
OF_KEY = TIER.format(
    keys="select tier from ops.api_keys where key_hash = %(hash)s and revoked_at is null"
    " and (expires_at is null or expires_at > clock_timestamp())"
).encode()
WITHOUT_KEY = TIER.format(keys="select 'FREE' as tier").encode()


@dataclass(frozen=True)
class Caller:
    """A caller and the rights of their tier, as `api.tiers` has them.

    Attributes:
        tier: of the key; FREE without one.
        symbols: lower case.
        max_age: seconds for which a browser may keep an answer.
        limited_as: whose requests are counted together: the key's hash, or the client's address.
    """

    tier: str
    is_admin: bool
    symbols: frozenset[str]
    timeframes: frozenset[str]
    confluence: bool
    stream: bool
    market: bool
    requests_per_hour: int
    max_age: int
    limited_as: str


class Access:
    """Finds out who calls.

    Args:
        database: has keys and tiers.
        project: the lists behind `*`.
        closed: whether callers without a key get nothing.
        sessions: reads the cookie of a browser that has signed in; it counts where nothing can be changed.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        database: Database,
        project: Project,
        *,
        closed: bool,
        sessions: Sessions,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sessions = sessions
        self._database = database
        self._project = project
        self._closed = closed
        self._clock = clock
        self._callers: OrderedDict[bytes, tuple[Caller | None, float]] = OrderedDict()
        self._touched: dict[bytes, float] = {}
        self._touching: set[asyncio.Task[None]] = set()
        self._flights: SingleFlight[Caller | None] = SingleFlight()

    async def caller(self, request: Request) -> Caller:
        """The caller of a request.

        Raises:
            ApiError: 401 where the key is unknown, expired or revoked, or where there is none and one is needed; 503
                where the warehouse is away and has not been asked about this key before.
        """
        key = credential(request)
        digest = self.signed_in(request) if key is None else hashlib.sha256(key.encode()).digest()
        if digest is None:
            if self._closed:
                raise _unauthorized("a key is needed: Authorization: Bearer <key>, or X-API-Key: <key>")
            caller = await self._look(b"")
            if caller is None:
                raise UnavailableError("the warehouse has no tier FREE; `tradehouse sync` builds the tiers")
            return replace(caller, limited_as=client_network(request))
        caller = await self._look(digest) if key is None or len(key) <= LONGEST_KEY else None
        if caller is None:
            raise _unauthorized("the key is unknown, has expired or was revoked")
        return caller

    def signed_in(self, request: Request) -> bytes | None:
        """The hash of the key with which the browser has signed in, or None."""
        return self.sessions.read(request.cookies.get(COOKIE)) if request.method == "GET" else None

    async def holds(self, digest: bytes) -> bool:
        """Whether the key with this SHA-256 is known and neither expired nor revoked; raises 503."""
        return await self._look(digest) is not None

    def forget(self) -> None:
        """Ask the warehouse about every key again."""
        self._callers.clear()

    async def _look(self, digest: bytes) -> Caller | None:
        known = self._callers.get(digest)
        if known and known[1] > self._clock():
            return known[0]
        try:
            caller = await self._flights.run(digest.hex(), lambda: self._ask(digest))
        except UnavailableError:
            if known and known[0]:  # nobody can revoke a key while the warehouse is away
                return known[0]
            raise
        self._callers[digest] = (caller, self._clock() + BELIEVED_SECONDS)
        self._callers.move_to_end(digest)
        if len(self._callers) > KEYS_REMEMBERED:
            self._callers.popitem(last=False)
        return caller

    async def _ask(self, digest: bytes) -> Caller | None:
        parameters: Any = {
            "hash": digest,
            "symbols": list(self._project.symbols),
            "timeframes": list(self._project.timeframes),
        }
        rows = await self._database.rows(OF_KEY if digest else WITHOUT_KEY, parameters)
        if not rows:
            return None
        tier, is_admin, symbols, timeframes, confluence, stream, market, requests, max_age = rows[0]
        if digest:
            self._touch(digest)
        return Caller(
            tier=tier,
            is_admin=is_admin,
            symbols=frozenset(symbols),
            timeframes=frozenset(timeframes),
            confluence=confluence,
            stream=stream,
            market=market,
            requests_per_hour=requests,
            max_age=max_age,
            limited_as=digest.hex(),
        )

    def _touch(self, digest: bytes) -> None:
        """Note in the warehouse that the key was used, at most once a minute; nobody waits for it."""
        now = self._clock()
        if self._touched.get(digest, now - TOUCH_SECONDS) > now - TOUCH_SECONDS:
            return
        if len(self._touched) >= KEYS_REMEMBERED:
            self._touched.clear()
        self._touched[digest] = now

        async def touch() -> None:
            try:
                await self._database.write(b"select ops.touch_api_key(%s)", [digest])
            except Exception as error:  # a read replica cannot be written to
                log.debug("the use of a key was not noted: %s", type(error).__name__)

        task = asyncio.create_task(touch())
        self._touching.add(task)
        task.add_done_callback(self._touching.discard)


def credential(request: Request) -> str | None:
    """The key a request carries in a header, or None."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return request.headers.get("x-api-key")


def client_network(request: Request) -> str:
    """The client's address; of an IPv6 address the network of one customer, 64 bits."""
    host = request.client.host if request.client else "unknown"
    if ":" not in host:
        return host
    try:
        return str(ipaddress.ip_network(f"{host.partition('%')[0]}/64", strict=False))
    except ValueError:
        return host


def forbidden(caller: Caller, project: Project, message: str) -> ApiError:
    """403 with what the caller's tier may see."""
    return ApiError(
        403,
        message,
        tier=caller.tier,
        accessible_symbols=[symbol.upper() for symbol in project.symbols if symbol in caller.symbols],
        accessible_timeframes=[timeframe for timeframe in project.timeframes if timeframe in caller.timeframes],
        upgrade_required=True,
    )


def _unauthorized(message: str) -> ApiError:
    return ApiError(401, message, {"WWW-Authenticate": "Bearer"})
