"""DuckDB sessions with the SQLite and Postgres extensions, loaded from the installed wheels."""

from __future__ import annotations

from importlib import resources

import duckdb

EXTENSIONS = ("sqlite_scanner", "postgres_scanner")


def open_session() -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB that can attach SQLite files and Postgres databases.

    Nothing is fetched and nothing is written to the user's home: the extensions are files of the wheels
    `duckdb-extension-*`, which must have DuckDB's exact version. The session's time zone is UTC, because a
    naive TIMESTAMP is shifted by it on its way to Postgres.
    """
    session = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
    for name in EXTENSIONS:
        package = resources.files(f"duckdb_extension_{name}")
        file = package / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        session.execute(f"load {literal(str(file))}")
    session.execute("set TimeZone = 'UTC'")
    return session


def literal(text: str) -> str:
    """A string as an SQL literal, for the places where DuckDB, SQLite and Postgres take no parameter."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
