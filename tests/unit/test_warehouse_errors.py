"""Which errors may pass, and are worth another attempt: those of connection and server, not of the data."""

from __future__ import annotations

import duckdb
import psycopg2
import pytest
from psycopg2 import errors

from extract.errors import WarehouseError, WarehouseUnavailableError
from extract.warehouse import warehouse_error

URI = "postgresql://someone:hidden@nowhere/db"


class Coded(psycopg2.Error):
    """An error with the SQLSTATE the server gave it, which psycopg2 fills in itself and nobody else can."""

    pgcode = "54000"


@pytest.mark.parametrize(
    "error",
    [
        psycopg2.OperationalError("server closed the connection unexpectedly"),
        psycopg2.InterfaceError("connection already closed"),
        psycopg2.DatabaseError("error with status PGRES_TUPLES_OK and no message from the libpq"),
        duckdb.Error('Failed to execute query "select 1": server closed the connection unexpectedly'),
        duckdb.IOException("IO Error: Failed to fetch header for COPY: FATAL:  terminating connection"),
        duckdb.Error('Failed to execute query "do": ERROR:  the run lock is lost'),
    ],
    ids=repr,
)
def test_what_may_pass(error: Exception) -> None:
    assert type(warehouse_error(error, URI)) is WarehouseUnavailableError


@pytest.mark.parametrize(
    "error",
    [
        errors.UniqueViolation("duplicate key, password hidden"),
        errors.CardinalityViolation("ON CONFLICT DO UPDATE command cannot affect row a second time"),
        psycopg2.DataError("invalid input syntax"),
        psycopg2.ProgrammingError("can't adapt type"),
        Coded("index row size 3000 exceeds btree maximum"),
        duckdb.Error('Failed to execute query "select 1/0": ERROR:  division by zero'),
    ],
    ids=repr,
)
def test_what_stays(error: Exception) -> None:
    found = warehouse_error(error, URI)
    assert type(found) is WarehouseError
    assert str(found).startswith("the run broke off: ")
    assert "hidden" not in str(found)
