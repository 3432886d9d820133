"""Rows on their way between a DuckDB session and the warehouse, over the run's own connection.

DuckDB can attach Postgres itself. But then a second connection is open, which does not hold the run lock, and if that
one breaks while DuckDB reads from it, the whole process dies (a segmentation fault, DuckDB 1.5.5).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

import duckdb

from extract.landing import CSV_FORMAT
from extract.quoting import literal
from extract.warehouse import Connection

FETCHED_ROWS = 10_000


@contextmanager
def rows_of(session: duckdb.DuckDBPyConnection, query: str) -> Iterator[IO[bytes]]:
    """The rows of a DuckDB query as CSV for `Batch.copy` and `Batch.load`; every value arrives exactly."""
    with TemporaryDirectory(prefix="tradehouse-") as directory:
        path = Path(directory, "rows.csv")
        session.execute(f"copy ({query}) to {literal(str(path))} ({CSV_FORMAT}, header false, force_quote *)")
        with path.open("rb") as file:
            yield file


def fetch(
    session: duckdb.DuckDBPyConnection, connection: Connection, table: str, columns: Mapping[str, str], query: str
) -> None:
    """Make a temporary table in the session with the rows of a Postgres query, read over the run's own connection.

    `columns` maps the query's columns, in their order, to DuckDB types. -0.0 arrives as 0.0, which DuckDB takes for
    equal; every other value is exact.
    """
    fields = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    session.execute(f"create or replace temp table {table} ({fields})")
    structure = literal(json.dumps([dict(columns)]))
    with connection.cursor() as cursor:
        cursor.execute(query)
        while rows := cursor.fetchmany(FETCHED_ROWS):
            # As JSON: as lists, one a column, it takes ten times as long. In the statement: for a parameter DuckDB
            # imports pandas where that is installed, which takes half a second and 45 MB. In a query of its own: else
            # DuckDB reads all of it again for each row.
            content = literal(json.dumps([dict(zip(columns, row, strict=True)) for row in rows]))
            session.execute(
                f"insert into {table} by name select unnest(from_json(content, {structure}), recursive := true)"
                f" from (select {content} as content)"
            )
