"""The warehouse: the only module that connects to Postgres, embedded or your own."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg2
import psycopg2.extensions

from extract.errors import LockHeldError, WarehouseError, WarehouseUnavailableError
from extract.pooling import require_session_pooling as require_session_pooling
from extract.redaction import complaint as complaint
from extract.redaction import redacted as redacted
from extract.redaction import require_plausible_uri
from extract.settings import Settings

Connection = psycopg2.extensions.connection

EMBEDDED = "embedded"
EMBEDDED_DATABASE = "tradehouse"
OLDEST_SERVER = 14


def lock_key(name: str) -> int:
    """The key of a source's run lock: a hash of its name, as a signed 64-bit integer."""
    return int.from_bytes(hashlib.sha256(f"tradehouse {name}".encode()).digest()[:8], "big", signed=True)


# A connection whose other end no longer answers is closed after a minute: some networks drop packets without closing
# the connection. The URI can set other values.
KEEPALIVE = {
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",  # milliseconds
}
# Parts of a URI that dbt and psql get as libpq's own variables, besides host, port, user, password and database.
VARIABLES = {
    "sslmode": "PGSSLMODE",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslcertmode": "PGSSLCERTMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcrl": "PGSSLCRL",
    "sslcrldir": "PGSSLCRLDIR",
    "sslsni": "PGSSLSNI",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "channel_binding": "PGCHANNELBINDING",
    "require_auth": "PGREQUIREAUTH",
    "requirepeer": "PGREQUIREPEER",
    "gssencmode": "PGGSSENCMODE",
    "krbsrvname": "PGKRBSRVNAME",
    "options": "PGOPTIONS",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}


@dataclass(frozen=True)
class Warehouse:
    """A Postgres that answers."""

    uri: str
    embedded: bool
    directory: Path | None = None
    """The embedded server's data."""

    @property
    def description(self) -> str:
        """One line for a terminal that says which warehouse this is."""
        return f"embedded Postgres in {self.directory}" if self.directory else redacted(self.uri)

    @property
    def dsn(self) -> str:
        """The connection string: the URI, our keepalive settings unless the URI has its own, and text in UTF-8."""
        given = psycopg2.extensions.parse_dsn(self.uri)
        return psycopg2.extensions.make_dsn(**KEEPALIVE | given | {"client_encoding": "UTF8"})

    def connect(self, purpose: str, *, autocommit: bool = False) -> Connection:
        """Open a connection that shows up in pg_stat_activity under `purpose`.

        Raises:
            WarehouseError: the server rejects the connection; the message is its own, without the password.
        """
        try:
            connection = psycopg2.connect(
                self.dsn,
                application_name=f"tradehouse {purpose} pid {os.getpid()} on {socket.gethostname()}"[:63],
                connect_timeout=10,
            )
        except psycopg2.Error as error:
            raise WarehouseUnavailableError(f"cannot connect to Postgres: {complaint(error, self.uri)}") from None
        connection.set_session(autocommit=autocommit)
        return connection

    def libpq_environment(self) -> dict[str, str]:
        """The environment variables of libpq, for dbt and psql; default values are included."""
        with self._connection("environment") as connection:
            info = connection.info
            values = {
                "PGHOST": info.host,
                "PGPORT": str(info.port),
                "PGUSER": info.user,
                "PGPASSWORD": info.password,
                "PGDATABASE": info.dbname,
                "PGCLIENTENCODING": "UTF8",
            }
        for parameter, value in psycopg2.extensions.parse_dsn(self.uri).items():
            if parameter in VARIABLES:
                values[VARIABLES[parameter]] = value
        return {name: value for name, value in values.items() if value}

    @contextmanager
    def _connection(self, purpose: str) -> Iterator[Connection]:
        connection = self.connect(purpose)
        try:
            yield connection
        finally:
            connection.close()

    @contextmanager
    def reading(self, purpose: str) -> Iterator[Connection]:
        """A read-only connection, closed at the end."""
        with self._connection(purpose) as connection:
            connection.set_session(readonly=True)
            yield connection


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """A transaction on a connection in autocommit: commits at the end of the block, rolls back on any error."""
    with connection.cursor() as cursor:
        cursor.execute("begin")
        try:
            yield
            cursor.execute("commit")
        except BaseException:
            with suppress(psycopg2.Error):  # a lost connection has rolled back already
                cursor.execute("rollback")
            raise


@contextmanager
def holding_run_lock(connection: Connection, source: str) -> Iterator[None]:
    """Hold the run lock of a source on a connection in autocommit.

    It is a session lock: Postgres releases it as soon as the process or its connection ends.

    Raises:
        LockHeldError: another run of the source has it.
        WarehouseError: the connection goes through a pooler that does not keep locks with their session.
    """
    require_session_pooling(connection)
    key = lock_key(source)
    if not value(connection, "select pg_try_advisory_lock(%s)", key):
        holder = value(
            connection,
            "select format('%%s, since %%s', a.application_name, date_trunc('second', a.backend_start))"
            " from pg_locks as l join pg_stat_activity as a using (pid)"
            " where l.locktype = 'advisory' and l.granted and l.objsubid = 1"
            " and (l.classid::bigint << 32 | l.objid::bigint) = %s"
            " and l.database = (select oid from pg_database where datname = current_database())",
            key,
        )
        raise LockHeldError(f"another run of {source} holds the lock: {holder or 'it has just ended'}")
    try:
        yield
    finally:
        _unlock(connection, key)


@contextmanager
def advisory_lock(connection: Connection, key: int) -> Iterator[None]:
    """Hold an advisory lock on a connection in autocommit; wait until it is free."""
    value(connection, "select pg_advisory_lock(%s)", key)
    try:
        yield
    finally:
        _unlock(connection, key)


def _unlock(connection: Connection, key: int) -> None:
    with suppress(psycopg2.Error):  # a lost connection has released its lock
        value(connection, "select pg_advisory_unlock(%s)", key)


def open_warehouse(settings: Settings) -> Warehouse:
    """The Postgres of POSTGRESQL_URI, or the embedded one, which is started if needed and left running.

    Raises:
        WarehouseError: it cannot be reached or started, or it is too old.
    """
    given = settings.postgresql_uri.get_secret_value().strip() if settings.postgresql_uri else EMBEDDED
    if given == EMBEDDED:
        return _open_embedded(settings)
    require_plausible_uri(given)
    warehouse = Warehouse(given, embedded=False)
    with warehouse.reading("check") as connection:
        info = connection.info
        if info.server_version < OLDEST_SERVER * 10_000:
            raise WarehouseError(
                f"the server is Postgres {info.server_version // 10_000}; {OLDEST_SERVER} or newer is needed"
            )
        encoding = info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise WarehouseError(
                f"database {info.dbname} stores text as {encoding}, which cannot hold every character; UTF8 is needed. "
                "Make another one: create database tradehouse template template0 encoding 'UTF8' locale 'C'"
            )
    return warehouse


def warehouse_error(error: BaseException, uri: str) -> WarehouseError:
    """Turn an error of Postgres or DuckDB during a run into one of ours: one line, without the password."""
    kind = WarehouseUnavailableError if may_pass(error) else WarehouseError
    return kind(f"the run broke off: {complaint(error, uri)}")


def may_pass(error: BaseException) -> bool:
    """Whether the next attempt may succeed: the connection or the server failed, not the statement."""
    if isinstance(error, psycopg2.Error):
        if error.pgcode:
            # connection, deadlock, resources, lock not available, shutdown
            return error.pgcode[:2] in {"08", "40", "53", "55", "57"}
        # when the server is lost, psycopg2 may raise just the plain class
        lost = (psycopg2.OperationalError, psycopg2.InterfaceError)
        return isinstance(error, lost) or type(error) is psycopg2.DatabaseError
    return "ERROR:  " not in str(error) or "the run lock is lost" in str(error)


def stop_embedded(settings: Settings) -> bool:
    """Stop the embedded Postgres; say whether one was running."""
    return bool(_embedded().stop(settings.home))


def value(connection: Connection, sql: str, *parameters: Any) -> Any:
    """The first column of the first row, or None."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        row = cursor.fetchone()
    return row[0] if row else None


def _open_embedded(settings: Settings) -> Warehouse:
    server = _embedded().start(settings.home)
    administration = Warehouse(server.uri("postgres"), embedded=True)
    with administration._connection("set-up") as connection:
        connection.autocommit = True
        if not value(connection, "select 1 from pg_database where datname = %s", EMBEDDED_DATABASE):
            # if two runs start at once, the slower one gets one of these errors
            taken = (psycopg2.errors.DuplicateDatabase, psycopg2.errors.UniqueViolation)
            with connection.cursor() as cursor, suppress(*taken):
                cursor.execute(f"create database {EMBEDDED_DATABASE}")
    return Warehouse(server.uri(EMBEDDED_DATABASE), embedded=True, directory=server.data)


def _embedded() -> ModuleType:
    """Import the embedded server only when needed: with POSTGRESQL_URI it is not used, and Windows does not have it."""
    if os.name != "posix":
        raise WarehouseError(
            "the embedded Postgres cannot keep other users of Windows out: set POSTGRESQL_URI to a Postgres server"
        )
    from extract import embedded

    return embedded
