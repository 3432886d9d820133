"""The Postgres of the benchmarks, and the programs run against it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg2

from extract import embedded


@dataclass(frozen=True)
class Server:
    """A running embedded Postgres with its Unix socket in `sockets`."""

    sockets: Path

    def uri(self, database: str) -> str:
        """The database's address, in the form psycopg2, DuckDB and dlt read (a user and a password, both unused)."""
        return f"postgresql://postgres:unused@{quote(str(self.sockets), safe='')}:5432/{database}"

    def fresh_database(self, name: str) -> str:
        """Make the database anew and return its URI."""
        with closing(psycopg2.connect(self.uri("postgres"))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"drop database if exists {name} with (force)")
                cursor.execute(f"create database {name}")
                cursor.execute("checkpoint")  # or the one before would be paid by the next
        return self.uri(name)

    def count(self, database: str, relation: str) -> int:
        """Rows of a table."""
        with closing(psycopg2.connect(self.uri(database))) as connection, connection.cursor() as cursor:
            cursor.execute(f"select count(*) from {relation}")
            row = cursor.fetchone()
        assert row is not None
        return int(row[0])


@contextmanager
def embedded_server(home: Path) -> Iterator[Server]:
    """The project's own Postgres in a fresh home, stopped at the end."""
    server = embedded.start(home)
    try:
        yield Server(server.sockets)
    finally:
        embedded.stop(home)


def timed(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> float:
    """Wall seconds of a program from start to end.

    Raises:
        RuntimeError: it failed; the message has the end of what it printed.
    """
    started = time.perf_counter()
    done = subprocess.run(
        command, env={**os.environ, **(environment or {})}, check=False, capture_output=True, text=True
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {(done.stdout + done.stderr)[-2000:]}")
    return seconds
