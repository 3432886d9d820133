"""Bulk landing: COPY the rows of a DuckDB query over DuckDB's own connection to the warehouse."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import duckdb

from extract.errors import WarehouseError
from extract.landing import NEW_STAMP, Batch, StagingTable, temporary_table
from extract.quoting import identifier, literal
from extract.records import Run
from extract.warehouse import Connection, Warehouse, backend_pid, holds_lock, redacted

ALIAS = "wh"
FETCHED_ROWS = 10_000


def attach_warehouse(session: duckdb.DuckDBPyConnection, warehouse: Warehouse) -> None:
    """Attach the warehouse to a DuckDB session as `wh`.

    Raises:
        WarehouseError: DuckDB's own client library cannot connect. Its message quotes the URI, so it is not shown.
    """
    try:
        session.execute(f"attach {literal(warehouse.dsn)} as {ALIAS} (type postgres)")
    except duckdb.Error:
        raise WarehouseError(
            f"DuckDB cannot attach {redacted(warehouse.uri)}, although psycopg2 can: look for URI options that "
            "only newer clients know"
        ) from None


@contextmanager
def transaction(session: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """One transaction in DuckDB and the warehouse: commits at the end of the block, rolls back on any error."""
    session.execute("begin")
    try:
        yield
        session.execute("commit")
    except BaseException:
        # a failed statement may have ended the transaction already
        with suppress(duckdb.Error):
            session.execute("rollback")
        raise


@contextmanager
def landing(session: duckdb.DuckDBPyConnection, run: Run) -> Iterator[DuckBatch]:
    """One landing transaction. The run lock is checked at its start and at its end."""
    with transaction(session):
        batch = DuckBatch(session, run)
        batch.require_lock()
        yield batch
        batch.require_lock()


class DuckBatch(Batch[str]):
    """A batch whose rows are DuckDB queries, on DuckDB's own connection to the warehouse."""

    def __init__(self, session: duckdb.DuckDBPyConnection, run: Run) -> None:
        super().__init__(run, f"(select extracted_at from ops.sync_runs where run_id = {run.run_id})")
        self._session = session
        self.execute(f"update ops.sync_runs set extracted_at = {NEW_STAMP} where run_id = {run.run_id}")

    def require_lock(self) -> None:
        """Fail unless the run's own connection, which is not this one, still holds the run lock."""
        pid = backend_pid(self._run.connection)
        self.execute(
            f"do $$ begin if not exists (select from pg_locks where {holds_lock(self._run.source, str(pid))})"
            " then raise 'the run lock is lost'; end if; end $$"
        )

    def execute(self, sql: str) -> None:
        """Run statements in the warehouse, inside the transaction."""
        _execute(self._session, sql)

    def copy(self, temporary: str, columns: Mapping[str, str], rows: str) -> None:
        """COPY the rows of a DuckDB query into a temporary table; see `copy_to_temporary`."""
        copy_to_temporary(self._session, temporary, columns, rows)

    def load(self, target: StagingTable, rows: str) -> None:
        """COPY the rows of a DuckDB query straight into the target, which must not hold any of their keys."""
        columns = ", ".join(map(identifier, target.columns))
        stamp = "(select extracted_at from postgres_query({}, {}))".format(
            literal(ALIAS), literal(f"select extracted_at from ops.sync_runs where run_id = {self._run.run_id}")
        )
        self._session.execute(
            f"insert into {ALIAS}.{target.relation} ({columns}, extracted_at) select {columns}, {stamp} from ({rows})"
        )


def fetch(
    session: duckdb.DuckDBPyConnection, connection: Connection, table: str, columns: Mapping[str, str], query: str
) -> None:
    """Make a temporary table in the session with the rows of a Postgres query, read over the run's own connection.

    `columns` maps the query's columns, in their order, to DuckDB types. DuckDB could read the rows itself, but if the
    server's connection breaks while it does so, the whole process dies (a segmentation fault, DuckDB 1.5.5).
    -0.0 arrives as 0.0, which DuckDB takes for equal; every other value is exact.
    """
    fields = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    session.execute(f"create or replace temp table {table} ({fields})")
    structure = literal(json.dumps([dict(columns)]))
    with connection.cursor() as cursor:
        cursor.execute(query)
        while rows := cursor.fetchmany(FETCHED_ROWS):
            # as JSON: 200 rows take 3 ms; as lists, one a column, 150
            content = json.dumps([dict(zip(columns, row, strict=True)) for row in rows])
            session.execute(
                f"insert into {table} by name select unnest(from_json(?, {structure}), recursive := true)", [content]
            )


def copy_to_temporary(session: duckdb.DuckDBPyConnection, name: str, columns: Mapping[str, str], rows: str) -> None:
    """COPY the rows of a DuckDB query into a temporary table of the open transaction's connection.

    The table is emptied at commit. It has an index on its first column, by which rows are looked up later.
    """
    _execute(session, temporary_table(name, columns))
    session.execute("call pg_clear_cache()")  # otherwise DuckDB may not know the new pg_temp schema
    session.execute(f"insert into {ALIAS}.pg_temp.{name} {rows}")


def _execute(session: duckdb.DuckDBPyConnection, sql: str) -> None:
    session.execute(f"call postgres_execute({literal(ALIAS)}, {literal(sql)})")
