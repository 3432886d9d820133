"""Landing: the only code that writes to staging and to the run records.

A batch is one Postgres transaction: the changed rows, the rejects and the run record commit together, all
with the same `extracted_at`, which is greater than that of every batch of the source before it. A batch that
changes nothing is not written at all.

Rows come from a DuckDB query (`landing`) or from Python (`landing_rows`); the rules are the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import duckdb
import psycopg2
from psycopg2.extras import execute_values

from extract.duck import identifier, literal
from extract.warehouse import LOCK_KEYS, Connection, Warehouse, WarehouseError, complaint, redacted

Rows = TypeVar("Rows")

ALIAS = "wh"
RETENTION_DAYS = 30
"""How long run records and resolved rejects are kept."""
TIDY_EVERY = 100
"""Runs from one cleaning up to the next: old records, dead rows."""
TIDY_ROWS = 1000
"""Records of each kind that one deletion takes at most, so that none takes long."""
RECORDS = ("ops.sync_runs", "ops.sync_symbols", "ops.rejected_rows", "ops.pruned_bars")
REJECT_COLUMNS = ("entity", "row_key", "column_name", "reason", "original")


@dataclass(frozen=True)
class StagingTable:
    """A landing table: `staging.<name>` with its key and the columns the source fills.

    Attributes:
        name: without the schema.
        key: names of the primary key's columns.
        columns: name -> Postgres type, key included.
        first_stamp: a column that keeps the `extracted_at` with which a row came, whatever becomes of it.
    """

    name: str
    key: tuple[str, ...]
    columns: Mapping[str, str]
    first_stamp: str | None = None

    @property
    def relation(self) -> str:
        """The table's quoted, qualified name."""
        return f"staging.{identifier(self.name)}"


@dataclass(frozen=True)
class Run:
    """The record of a run, `ops.sync_runs.run_id`, on the connection that holds the run lock."""

    run_id: int
    source: str
    connection: Connection

    @classmethod
    def start(cls, connection: Connection, source: str, command: str) -> Run:
        """Record that a run has begun, and that earlier ones which never ended were interrupted."""
        with connection.cursor() as cursor:
            cursor.execute(
                "update ops.sync_runs set status = 'interrupted', finished_at = clock_timestamp()"
                " where source = %s and finished_at is null",
                (source,),
            )
            cursor.execute(
                "insert into ops.sync_runs (source, command, status, started_at)"
                " values (%s, %s, 'running', clock_timestamp()) returning run_id",
                (source, command),
            )
            row = cursor.fetchone()
        assert row is not None
        run = cls(row[0], source, connection)
        if run.tidies:
            run._tidy()
        return run

    @property
    def tidies(self) -> bool:
        """Whether it is this run's turn to clean up."""
        return self.run_id % TIDY_EVERY == 0

    def _tidy(self) -> None:
        """Delete old records of the source, but for those that later runs read: see `Batch` and `cycle`."""
        with self.connection.cursor() as cursor:
            cursor.execute(
                "delete from ops.sync_runs where run_id in ("
                " select run_id from ops.sync_runs"
                " where source = %(source)s and started_at < clock_timestamp() - make_interval(days => %(days)s)"
                # the clock of `extracted_at`
                " and extracted_at is distinct from (select max(extracted_at) from ops.sync_runs)"
                # what the tables were last built of
                " and run_id is distinct from"
                " (select max(run_id) from ops.sync_runs"
                " where source = %(source)s and project_fingerprint is not null)"
                " order by run_id limit %(rows)s)",
                {"source": self.source, "days": RETENTION_DAYS, "rows": TIDY_ROWS},
            )
            cursor.execute(
                "delete from ops.rejected_rows where ctid = any(array("
                " select ctid from ops.rejected_rows"
                " where source = %(source)s and resolved_at < clock_timestamp() - make_interval(days => %(days)s)"
                " limit %(rows)s))",
                {"source": self.source, "days": RETENTION_DAYS, "rows": TIDY_ROWS},
            )

    def update(self, **values: Any) -> None:
        """Set columns of the run's record."""
        assignments = ", ".join(f"{identifier(name)} = %s" for name in values)
        with self.connection.cursor() as cursor:
            cursor.execute(f"update ops.sync_runs set {assignments} where run_id = %s", (*values.values(), self.run_id))

    def count(self, **values: int) -> None:
        """Add to columns of the run's record."""
        assignments = ", ".join(f"{identifier(name)} = {identifier(name)} + %s" for name in values)
        with self.connection.cursor() as cursor:
            cursor.execute(f"update ops.sync_runs set {assignments} where run_id = %s", (*values.values(), self.run_id))

    def conclude(self, problems: Sequence[str], **values: Any) -> float:
        """Close the record as `done`, or as `partial` with what went wrong; return the seconds the run took."""
        return self.finish("partial" if problems else "done", error="; ".join(problems) or None, **values)

    def finish(self, status: str, **values: Any) -> float:
        """Close the record with `done`, `partial` or `failed`; return the seconds the run took."""
        columns = {"status": status, **values}
        assignments = "".join(f"{identifier(name)} = %s, " for name in columns)
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"update ops.sync_runs set {assignments}finished_at = clock_timestamp() where run_id = %s"
                " returning extract(epoch from finished_at - started_at)",
                (*columns.values(), self.run_id),
            )
            row = cursor.fetchone()
        return float(row[0]) if row else 0.0


# greatest(): the machine's clock may have been set back since the last batch
_NEW_STAMP = "greatest(clock_timestamp(), (select max(extracted_at) from ops.sync_runs) + interval '1 microsecond')"


class Batch(ABC, Generic[Rows]):
    """The open landing transaction; everything in it has the run's new `extracted_at`, which is given as SQL."""

    def __init__(self, run: Run, extracted_at: str) -> None:
        self._run = run
        self._extracted_at = extracted_at

    @abstractmethod
    def execute(self, sql: str) -> None:
        """Run statements in the warehouse, inside the transaction."""

    @abstractmethod
    def copy(self, temporary: str, columns: Mapping[str, str], rows: Rows) -> None:
        """Copy rows into a temporary table, which is empty again at commit."""

    def upsert(self, target: StagingTable, rows: str) -> None:
        """Insert the rows of a warehouse query over the target's columns; rewrite what differs, nothing else.

        Rows that are there already are left out ahead of the insert, which would lock them, and that is a write, too.
        """
        names = list(target.columns)
        values = [name for name in names if name not in target.key]
        columns = ", ".join(map(identifier, names))
        stamps = ["extracted_at", *([target.first_stamp] if target.first_stamp else [])]
        same = " and ".join(f"target.{identifier(name)} = incoming.{identifier(name)}" for name in target.key)
        self.execute(
            f"with incoming as materialized ({rows})"
            f" insert into {target.relation} as target ({columns}, {', '.join(stamps)})"
            f" select {columns}{f', {self._extracted_at}' * len(stamps)} from incoming"
            f" where not exists (select from {target.relation} as target where {same}"
            f" and ({', '.join(f'target.{identifier(name)}' for name in values)})"
            f" is not distinct from ({', '.join(f'incoming.{identifier(name)}' for name in values)}))"
            f" on conflict ({', '.join(map(identifier, target.key))}) do update set "
            + ", ".join(f"{identifier(name)} = excluded.{identifier(name)}" for name in values)
            + ", extracted_at = excluded.extracted_at"
        )

    def record_rejects(self, found: Rows, resolved: Rows) -> None:
        """Write what could not be typed, and close what has become readable.

        Args:
            found: over REJECT_COLUMNS: new or changed rejects.
            resolved: over entity, row_key, column_name: rejects whose value is readable now.
        """
        key = {"entity": "text", "row_key": "text", "column_name": "text"}
        self.copy("rejects_found", dict.fromkeys(REJECT_COLUMNS, "text"), found)
        self.copy("rejects_resolved", key, resolved)
        self.execute(
            "insert into ops.rejected_rows as target"
            " (source, entity, row_key, column_name, reason, original, extracted_at)"
            f" select {literal(self._run.source)}, entity, row_key, column_name, reason, original,"
            f" {self._extracted_at} from rejects_found"
            " on conflict (source, entity, row_key, column_name) do update"
            " set reason = excluded.reason, original = excluded.original,"
            " extracted_at = excluded.extracted_at, resolved_at = null"
        )
        self.execute(
            f"update ops.rejected_rows as target set resolved_at = {self._extracted_at}"
            f" from rejects_resolved as gone where target.source = {literal(self._run.source)}"
            " and target.entity = gone.entity and target.row_key = gone.row_key"
            " and target.column_name = gone.column_name"
        )


class DuckBatch(Batch[str]):
    """A batch whose rows are DuckDB queries; it is on DuckDB's own connection to the warehouse."""

    def __init__(self, session: duckdb.DuckDBPyConnection, run: Run) -> None:
        super().__init__(run, f"(select extracted_at from ops.sync_runs where run_id = {run.run_id})")
        self._session = session
        self.execute(f"update ops.sync_runs set extracted_at = {_NEW_STAMP} where run_id = {run.run_id}")

    def require_lock(self) -> None:
        """Fail unless the run's own connection still holds the run lock: this is another one."""
        self.execute(
            "do $$ begin if not exists (select from pg_locks where locktype = 'advisory' and granted and classid = 0"
            f" and objid = {LOCK_KEYS[self._run.source]} and pid = {self._run.connection.info.backend_pid})"
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


class RowBatch(Batch[Sequence[tuple[Any, ...]]]):
    """A batch whose rows are tuples, on the connection that holds the run lock: while it lasts, so does the lock.

    For some thousand rows: its temporary tables stay with the connection, where DuckDB's pool has them made anew for
    every batch, which leaves dead rows in the catalog.

    Attributes:
        extracted_at: the stamp. It gets into the run's record if the batch writes any row.
        stamp: the same as SQL.
    """

    def __init__(self, run: Run) -> None:
        with run.connection.cursor() as cursor:
            cursor.execute(f"select {_NEW_STAMP}")
            row = cursor.fetchone()
        assert row is not None
        self.extracted_at: datetime = row[0]
        self._written = 0
        self.stamp = f"{literal(self.extracted_at.isoformat())}::timestamptz"
        super().__init__(run, self.stamp)

    @property
    def written(self) -> int:
        """Rows inserted or rewritten so far, temporary ones aside."""
        return self._written

    def execute(self, sql: str) -> None:
        """Run a statement in the warehouse, inside the transaction, and count the rows it writes."""
        with self._run.connection.cursor() as cursor:
            cursor.execute(sql)
            self._written += max(cursor.rowcount, 0)

    def copy(self, temporary: str, columns: Mapping[str, str], rows: Sequence[tuple[Any, ...]]) -> None:
        """Copy tuples into a temporary table."""
        with self._run.connection.cursor() as cursor:
            cursor.execute(_temporary_table(temporary, columns))
            execute_values(cursor, f"insert into pg_temp.{temporary} values %s", rows, page_size=1000)

    def take_out_refused(self, temporary: str, text: str, key: Sequence[str]) -> list[tuple[Any, ...]]:
        """Take the rows whose text Postgres does not accept as JSON out of a temporary table; what is left can be cast.

        Returns:
            The values of the `key` columns of each.
        """
        with self._run.connection.cursor() as cursor:
            cursor.execute(
                f"delete from pg_temp.{temporary} where staging.try_jsonb({identifier(text)}) is null"
                f" returning {', '.join(map(identifier, key))}"
            )
            return list(cursor.fetchall())


def attach_warehouse(session: duckdb.DuckDBPyConnection, warehouse: Warehouse) -> None:
    """Attach the warehouse to a DuckDB session as `wh`.

    Raises:
        WarehouseError: DuckDB's own client library is refused. Its message quotes the URI, so it is not passed on.
    """
    try:
        session.execute(f"attach {literal(warehouse.dsn)} as {ALIAS} (type postgres)")
    except duckdb.Error:
        raise WarehouseError(
            f"DuckDB cannot attach {redacted(warehouse.uri)}, although psycopg2 can: look for URI options that "
            "only newer clients know"
        ) from None


def _execute(session: duckdb.DuckDBPyConnection, sql: str) -> None:
    session.execute(f"call postgres_execute({literal(ALIAS)}, {literal(sql)})")


def copy_to_temporary(session: duckdb.DuckDBPyConnection, name: str, columns: Mapping[str, str], rows: str) -> None:
    """COPY the rows of a DuckDB query into a temporary table of the open transaction's connection.

    The table is empty again at commit. It has an index on its first column, by which its rows are told apart later.
    """
    _execute(session, _temporary_table(name, columns))
    session.execute("call pg_clear_cache()")  # or DuckDB may not know yet that there is a pg_temp
    session.execute(f"insert into {ALIAS}.pg_temp.{name} {rows}")


def _temporary_table(name: str, columns: Mapping[str, str]) -> str:
    fields = ", ".join(f"{identifier(column)} {kind}" for column, kind in columns.items())
    return (
        f"create temp table if not exists {name} ({fields}) on commit delete rows;"
        f" create index if not exists {name}_first on {name} ({identifier(next(iter(columns)))})"
    )


@contextmanager
def transaction(session: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """One transaction of session and warehouse: commits at the end of the block, rolls back on any error."""
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
    """One landing transaction, under the run lock from its first to its last statement."""
    with transaction(session):
        batch = DuckBatch(session, run)
        batch.require_lock()
        yield batch
        batch.require_lock()


@contextmanager
def landing_rows(run: Run) -> Iterator[RowBatch]:
    """One landing transaction on the run's own connection; the run's record is part of it."""
    with run.connection.cursor() as cursor:
        cursor.execute("begin")
        try:
            batch = RowBatch(run)
            yield batch
            if batch.written:
                run.update(extracted_at=batch.extracted_at)
            cursor.execute("commit")
        except BaseException:
            with suppress(psycopg2.Error):  # a lost connection has rolled back already
                cursor.execute("rollback")
            raise


@contextmanager
def recorded(connection: Connection, warehouse: Warehouse, source: str, command: str) -> Iterator[Run]:
    """The record of a run, closed as failed by an exception, where the connection still allows it."""
    run = Run.start(connection, source, command)
    try:
        yield run
    except BaseException as error:
        with suppress(psycopg2.Error):
            run.finish("failed", error=complaint(error, warehouse.uri))
        raise


def bar_digest(bar: str, columns: Sequence[str]) -> str:
    """Postgres' side: the first 16 bytes of the SHA-256 of a bar's columns, as an expression over the alias `bar`."""
    values = ", ".join(f"{bar}.{identifier(name)}" for name in columns)
    return f"substring(sha256(convert_to(row({values})::text, 'UTF8')) from 1 for 16)"


def prune(connection: Connection, table: StagingTable, keep: int) -> None:
    """Let go of all but the newest `keep` bars of a symbol, whole minutes at a time; a digest of each stays."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            with surplus as (
                select (timestamp / 60 + 1) * 60 as until
                from {table.relation}
                order by timestamp desc
                offset %(keep)s limit 1
            ),
            pruned as (
                delete from {table.relation}
                where timestamp < (select until from surplus)
                returning *
            )
            insert into ops.pruned_bars as known (symbol, timestamp, digest)
            select %(symbol)s, pruned.timestamp, {bar_digest("pruned", list(table.columns))}
            from pruned
            on conflict (symbol, timestamp) do update set digest = excluded.digest
            where known.digest <> excluded.digest
            """,
            {"keep": keep, "symbol": table.name},
        )


def vacuum(connection: Connection, tables: Sequence[str]) -> None:
    """Make the room of dead rows usable again, in tables nobody has locked.

    Autovacuum looks at shares of dead rows and may come hours apart; tables that are rewritten every 30 seconds stay
    smaller with less, more often.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"vacuum (skip_locked, truncate false) {', '.join(tables)}")


def last_run_was_clean(connection: Connection, source: str) -> bool:
    """Whether the source's newest run ended and left no model behind, so that only new changes need building."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select status in ('done', 'partial') and models_failed = 0 from ops.sync_runs"
            " where source = %s order by run_id desc limit 1",
            (source,),
        )
        row = cursor.fetchone()
    return bool(row and row[0])


def built_fingerprint(connection: Connection, source: str) -> str | None:
    """The digest of the project as all of the source's models were last built of it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select project_fingerprint from ops.sync_runs"
            " where source = %s and project_fingerprint is not null order by run_id desc limit 1",
            (source,),
        )
        row = cursor.fetchone()
    return row[0] if row else None


def open_rejects(connection: Connection, source: str) -> Sequence[tuple[str, str, str, str, str]]:
    """The unresolved rejects of a source, over REJECT_COLUMNS."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"select {', '.join(REJECT_COLUMNS)} from ops.rejected_rows where source = %s and resolved_at is null",
            (source,),
        )
        return cursor.fetchall()


def record_symbols(
    connection: Connection, outcomes: Sequence[tuple[str, str, str | None, int | None, bool, str | None]]
) -> None:
    """Keep `ops.sync_symbols` current: one row per symbol, rewritten only where it differs.

    Args:
        connection: the run's.
        outcomes: symbol, status, source table, newest bar read (Unix seconds), whether rows changed, error.
    """
    with connection.cursor() as cursor:
        execute_values(
            cursor,
            """
            insert into ops.sync_symbols as known
                (symbol, status, source_table, source_newest, last_change_at, last_error, last_error_at)
            select
                symbol, status, source_table, to_timestamp(newest::bigint),
                case when changed then clock_timestamp() end,
                error, case when error is not null then clock_timestamp() end
            from (values %s) as seen (symbol, status, source_table, newest, changed, error)
            on conflict (symbol) do update set
                status = excluded.status,
                source_table = excluded.source_table,
                source_newest = coalesce(excluded.source_newest, known.source_newest),
                last_change_at = coalesce(excluded.last_change_at, known.last_change_at),
                last_error = coalesce(excluded.last_error, known.last_error),
                last_error_at = case
                    when excluded.last_error is distinct from known.last_error
                    then coalesce(excluded.last_error_at, known.last_error_at)
                    else known.last_error_at
                end
            where excluded.last_change_at is not null
                or (excluded.status, excluded.source_table) is distinct from (known.status, known.source_table)
                or excluded.source_newest > known.source_newest
                or excluded.last_error <> known.last_error
            """,
            outcomes,
        )
