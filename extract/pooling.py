"""Poolers between us and the server: those that give each transaction another session are of no use."""

from __future__ import annotations

import psycopg2
import psycopg2.extensions

from extract.errors import WarehouseError, WarehouseUnavailableError
from extract.redaction import complaint

POOLER_ROUNDS = 3
"""How often a pooler is asked; other clients of it may hide in one round which sessions it gives out."""


def backend_pid(connection: psycopg2.extensions.connection) -> int:
    """The pid of the server's process behind a connection: what the client was told is a pooler's invention.

    Raises:
        psycopg2.Error: the connection is lost.
    """
    with connection.cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        (pid,) = cursor.fetchone() or (0,)
    return int(pid)


def require_session_pooling(connection: psycopg2.extensions.connection) -> None:
    """Refuse a pooler that gives a connection another session for each transaction: a lock held there means nothing.

    A pooler makes up the pid it tells the client, so a direct connection is known by one query. Behind a pooler, a
    second connection opens a transaction: with pooling by transaction it gets the session the first one has just
    used, or the first one gets another session then.

    Args:
        connection: in autocommit.

    Raises:
        WarehouseError: sessions change.
    """
    first = backend_pid(connection)
    if first == connection.info.backend_pid:
        return
    try:
        other = psycopg2.connect(connection.dsn, password=connection.info.password, connect_timeout=10)
    except psycopg2.Error as error:
        raise WarehouseUnavailableError(f"cannot connect to Postgres a second time: {complaint(error, '')}") from None
    try:
        for _ in range(POOLER_ROUNDS):
            if backend_pid(other) == first or backend_pid(connection) != first:
                raise WarehouseError(
                    "POSTGRESQL_URI leads to a pooler that gives every transaction another session, where locks do not "
                    "hold: use session pooling (pool_mode = session), or the server's own address"
                )
            other.rollback()
    finally:
        other.close()
