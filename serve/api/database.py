"""The warehouse as the API reads it: a small pool of read-only connections whose JSON stays bytes."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg import sql
from psycopg.adapt import Buffer, Loader
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from extract.warehouse import complaint
from serve.api.errors import ApiError, UnavailableError

AsyncConnection = psycopg.AsyncConnection[tuple[Any, ...]]
Query = bytes | sql.SQL | sql.Composed
Result = TypeVar("Result")
log = logging.getLogger("tradehouse.api")

WAIT_SECONDS = 1.0
"""How long a request waits for a connection."""
PAUSE_SECONDS = 1.0
"""After the server was found away, for so long nobody asks it."""
CALLERS_FAULT = "TH400"
"""SQLSTATE with which a function says what is wrong with the request. The error's detail, if any, is a JSON object:
further members of the answer."""
NOT_BUILT = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.InvalidSchemaName,
)


class _Bytes(Loader):
    """JSON as the bytes the server sent."""

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


class Database:
    """Reads the warehouse.

    Args:
        dsn: libpq connection string.
        connections: the most connections of the pool.
        seconds: after so long a query is given up.
        clock: monotonic seconds.
    """

    def __init__(self, dsn: str, connections: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.dsn = dsn
        self.away_until = 0.0
        self._seconds = seconds
        self._clock = clock
        self._pool: AsyncConnectionPool[AsyncConnection] = AsyncConnectionPool(
            dsn,
            kwargs={"autocommit": True, "application_name": "tradehouse api", "connect_timeout": 3},
            min_size=1,
            max_size=connections,
            timeout=WAIT_SECONDS,
            reconnect_timeout=1.0,
            configure=self._configure,
            check=AsyncConnectionPool.check_connection,
            open=False,
        )

    async def _configure(self, connection: AsyncConnection) -> None:
        for kind in ("json", "jsonb"):
            connection.adapters.register_loader(kind, _Bytes)
        await connection.execute(
            "select set_config('default_transaction_read_only', 'on', false), set_config('timezone', 'UTC', false),"
            " set_config('statement_timeout', %s, false), set_config('jit', 'off', false)",
            [f"{self._seconds * 1000:.0f}"],
        )

    async def open(self) -> None:
        """Start the pool; the server may be away."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close(timeout=1)

    async def rows(self, statement: Query, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """All rows of a query; JSON comes as bytes.

        Raises:
            UnavailableError: the server is away or too slow, the warehouse is not built, or the login lacks a right.
            ApiError: 400 where a function says that the request is wrong.
            psycopg.Error: another error of the statement.
        """

        async def read(connection: AsyncConnection) -> list[tuple[Any, ...]]:
            cursor = await connection.execute(statement, parameters)
            return await cursor.fetchall()

        return await self._with_connection(read)

    async def value(self, statement: Query, parameters: Sequence[Any] | None = None) -> Any:
        """The first column of the first row, or None; raises as `rows`."""
        found = await self.rows(statement, parameters)
        return found[0][0] if found else None

    async def write(self, statement: Query, parameters: Sequence[Any]) -> None:
        """Run a statement that writes, as the API's role may; raises as `rows`."""

        async def run(connection: AsyncConnection) -> None:
            async with connection.transaction():
                await connection.execute("set transaction read write")
                await connection.execute(statement, parameters)

        await self._with_connection(run)

    async def _with_connection(self, work: Callable[[AsyncConnection], Awaitable[Result]]) -> Result:
        if self._clock() < self.away_until:
            raise UnavailableError

        async def run() -> Result:
            async with self._pool.connection() as connection:
                return await work(connection)

        try:
            return await asyncio.wait_for(run(), WAIT_SECONDS + self._seconds + 1)
        except NOT_BUILT as error:
            log.warning("a part of the warehouse has not been built: %s", complaint(error, self.dsn))
            raise UnavailableError(
                "this part of the warehouse has not been built yet; a run of its source builds it: tradehouse sync, "
                "tradehouse bybit sync, tradehouse accounts sync or tradehouse upstox sync"
            ) from None
        except psycopg.errors.InsufficientPrivilege as error:
            log.error("the API's login lacks a right, see docs/api-keys.md: %s", complaint(error, self.dsn))
            raise UnavailableError("the API may not read this in the warehouse; its log says more") from None
        except psycopg.errors.QueryCanceled:
            raise UnavailableError("the warehouse took too long to answer; ask for less") from None
        except (asyncio.TimeoutError, psycopg.OperationalError, psycopg.InterfaceError) as error:
            if not (isinstance(error, PoolTimeout) and self._pool.get_stats().get("pool_size")):
                self.away_until = self._clock() + PAUSE_SECONDS
            log.warning("the warehouse does not answer: %s", complaint(error, self.dsn))
            raise UnavailableError from None
        except psycopg.DatabaseError as error:
            if error.sqlstate == CALLERS_FAULT:
                fields = json.loads(error.diag.message_detail or "{}")
                raise ApiError(400, error.diag.message_primary or "", **fields) from None
            raise
