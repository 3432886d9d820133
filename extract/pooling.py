"""Detects connection poolers that give each transaction another session; run locks do not work through them."""

from __future__ import annotations

import psycopg2
import psycopg2.extensions

from extract.errors import WarehouseError, WarehouseUnavailableError
from extract.redaction import complaint

POOLER_ROUNDS = 3
"""How often the check is repeated, because other clients of the pooler can hide the change of session once."""


def backend_pid(connection: psycopg2.extensions.connection) -> int:
    """The pid of the server's process behind a connection. A pooler tells the client a made-up one.

    Raises:
        psycopg2.Error: the connection is lost.
    """
    with connection.cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        (pid,) = cursor.fetchone() or (0,)
    return int(pid)


def require_session_pooling(connection: psycopg2.extensions.connection) -> None:
    """Raise an error if a pooler gives the connection another session for each transaction; locks do not hold there.

    A pooler tells the client a made-up pid, so one query shows whether the connection is direct. Behind a pooler, a
    second connection opens a transaction. If the pooler pools by transaction, either the second connection gets the
    session that the first has just used, or the first gets another session.

    Args:
        connection: in autocommit.

    Raises:
        WarehouseError: the session changes between transactions.
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
