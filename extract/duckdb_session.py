"""DuckDB sessions with extensions loaded from the installed wheels."""

from __future__ import annotations

import os
import socket
from importlib import resources
from pathlib import Path

import duckdb
import psycopg2.extensions

from extract.errors import SourceError
from extract.quoting import literal
from extract.warehouse import Warehouse

SQLITE_MAGIC = b"SQLite format 3\x00"


def open_session(*extensions: str) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with some of `sqlite_scanner` and `postgres_scanner`, to attach files and databases.

    Nothing is downloaded and nothing is written to the user's home: the extensions are files of the wheels
    `duckdb-extension-*`, which must have DuckDB's exact version. The session's time zone is UTC, because DuckDB shifts
    a naive TIMESTAMP by the time zone when it sends one to Postgres.
    """
    session = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
    for name in extensions:
        package = resources.files(f"duckdb_extension_{name}")
        file = package / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        session.execute(f"load {literal(str(file))}")
    session.execute("set TimeZone = 'UTC'")
    for threshold in ("allocator_flush_threshold", "allocator_bulk_deallocation_flush_threshold"):
        session.execute(f"set {threshold} = '1MB'")  # the default keeps 25 MB more between two ticks
    return session


def attach_warehouse(session: duckdb.DuckDBPyConnection, warehouse: Warehouse, name: str, purpose: str) -> None:
    """Attach the warehouse under a name, read only; `purpose` is for pg_stat_activity.

    The password goes into a secret, because `duckdb_databases()` shows everything else.
    """
    parameters = psycopg2.extensions.parse_dsn(warehouse.uri)
    password = parameters.pop("password", None)
    parameters["options"] = f"{parameters.get('options', '')} -c default_transaction_read_only=on".strip()
    parameters["application_name"] = f"tradehouse {purpose} pid {os.getpid()} on {socket.gethostname()}"[:63]
    parameters.setdefault("connect_timeout", "10")
    secret = ""
    if password:
        session.execute(f"create secret {name} (type postgres, password {literal(password)})")
        secret = f", secret {name}"
    session.execute(
        f"attach {literal(psycopg2.extensions.make_dsn(**parameters))} as {name} (type postgres, read_only{secret})"
    )


def require_sqlite_file(path: Path) -> None:
    """Raise an error if the path is not an SQLite file; DuckDB would attach some other files without an error.

    Raises:
        SourceError: missing, a directory, a pipe or device, unreadable, encrypted, or another kind of file.
    """
    if not path.exists():
        raise SourceError(f"SQLITE_PATH: there is no file {path}")
    if path.is_dir():
        raise SourceError(f"SQLITE_PATH: {path} is a directory; name the file inside it")
    if not path.is_file():  # a pipe would hang, and /dev/null would look like an empty database
        raise SourceError(f"SQLITE_PATH: {path} is no regular file but a pipe, socket or device")
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise SourceError(f"SQLITE_PATH: {path} cannot be read: {error.strerror}") from None
    if not head or head.startswith(SQLITE_MAGIC):  # an empty file is a database without tables
        return
    if all(byte >= 32 or byte in b"\t\r\n\f" for byte in head):
        raise SourceError(f"SQLITE_PATH: {path} is a text file, not an SQLite database")
    raise SourceError(
        f"SQLITE_PATH: {path} is no readable SQLite database: encrypted (tradehouse needs it without a key), "
        "damaged, or another kind of file"
    )


def lacks_shared_memory(path: Path) -> bool:
    """Whether a file is in WAL mode, and this user may neither read the `-shm` file beside it nor create one."""
    with path.open("rb") as file:
        wal_mode = file.read(20)[18:20] == b"\x02\x02"
    return wal_mode and not os.access(f"{path}-shm", os.R_OK) and not os.access(path.parent, os.W_OK)


def exact_text(column: str) -> str:
    """SQL for SQLite: the value of a quoted column as text from which the exact value can be read back.

    A real has 26 digits, because SQLite's own 17 are not always the nearest ones (large exponents come back one unit
    off). A blob becomes the literal x'…', which is neither a number nor JSON and so becomes a reject.
    """
    return (
        f"case typeof({column}) when 'real' then printf('%!.26g', {column})"
        f" when 'blob' then 'x''' || hex({column}) || '''' else {column} end"
    )
