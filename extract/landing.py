"""Landing: the only code that writes to staging.

A batch is one Postgres transaction: the changed rows, the rejects and the run record commit together. All have the
same `extracted_at`, which is greater than that of every earlier batch of the source. A batch that changes nothing
writes nothing.

Rows come from Python (`Batch.copy`) or from a DuckDB query (`duckdb_landing`); the rules are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any

import psycopg2
from psycopg2.extras import execute_values

from extract.quoting import identifier, literal
from extract.records import Run
from extract.rejects import ON_RECORD, REJECT_COLUMNS, REJECT_KEY
from extract.warehouse import Connection, transaction

# Tuples, or a file of CSV as CSV_FORMAT says.
Rows = Sequence[tuple[Any, ...]] | IO[bytes]
# Options of COPY, the same in DuckDB and in Postgres. All values are quoted, so that an empty text is not NULL. JSON is
# full of quotation marks, each of which would be doubled, so another character quotes.
CSV_FORMAT = "format csv, quote '\x01', escape '\x01'"
CSV_OPTIONS = f"{CSV_FORMAT}, encoding 'UTF8'"
BINARY_OPTIONS = "format binary"

# greatest(): the machine's clock may have been set back since the last batch
NEW_STAMP = "greatest(clock_timestamp(), (select max(extracted_at) from ops.sync_runs) + interval '1 microsecond')"


@dataclass(frozen=True)
class StagingTable:
    """A landing table: `staging.<name>` with its key and the columns the source fills.

    Attributes:
        name: without the schema.
        key: names of the primary key's columns.
        columns: name -> Postgres type, key included.
        first_stamp: a column that keeps the `extracted_at` of the batch that inserted the row.
    """

    name: str
    key: tuple[str, ...]
    columns: Mapping[str, str]
    first_stamp: str | None = None

    @property
    def relation(self) -> str:
        """The table's quoted, qualified name."""
        return f"staging.{identifier(self.name)}"


class Batch:
    """The open landing transaction, on the connection that holds the run lock; the lock lasts as long as it does.

    Its temporary tables stay with the connection, so that the next batch need not make them again.

    Attributes:
        extracted_at: the stamp of all that it writes. The run's record gets it if the batch writes any row.
        stamp: the same as SQL.
    """

    def __init__(self, run: Run) -> None:
        with run.connection.cursor() as cursor:
            cursor.execute(f"select {NEW_STAMP}")
            row = cursor.fetchone()
        assert row is not None
        self.extracted_at: datetime = row[0]
        self._run = run
        self._written = 0
        self.stamp = f"{literal(self.extracted_at.isoformat())}::timestamptz"

    @property
    def connection(self) -> Connection:
        """The run's connection, inside the transaction."""
        return self._run.connection

    @property
    def written(self) -> int:
        """Rows inserted or rewritten so far, temporary ones aside."""
        return self._written

    def execute(self, sql: str) -> None:
        """Run a statement in the warehouse, inside the transaction, and count the rows it writes."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            self._written += max(cursor.rowcount, 0)

    def copy(self, temporary: str, columns: Mapping[str, str], rows: Rows, options: str = CSV_OPTIONS) -> None:
        """Copy rows into a temporary table; they replace those of an earlier copy in this transaction."""
        copy_to_temporary(self.connection, temporary, columns, rows, options)

    def load(self, target: StagingTable, rows: IO[bytes], options: str = CSV_OPTIONS) -> None:
        """COPY rows over the target's columns and the stamp into the target, which must hold none of the keys."""
        columns = ", ".join(map(identifier, [*target.columns, "extracted_at"]))
        with self.connection.cursor() as cursor:
            cursor.copy_expert(f"copy {target.relation} ({columns}) from stdin ({options})", rows)
            self._written += cursor.rowcount

    def upsert(self, target: StagingTable, rows: str) -> None:
        """Insert the rows of a warehouse query over the target's columns, and rewrite only rows that differ.

        Rows that are equal already are left out before the insert. The insert would lock them, and a lock is a write.
        """
        names = list(target.columns)
        values = [name for name in names if name not in target.key]
        columns = ", ".join(map(identifier, names))
        stamps = ["extracted_at", *([target.first_stamp] if target.first_stamp else [])]
        same = " and ".join(f"target.{identifier(name)} = incoming.{identifier(name)}" for name in target.key)
        self.execute(
            f"with incoming as materialized ({rows})"
            f" insert into {target.relation} as target ({columns}, {', '.join(stamps)})"
            f" select {columns}{f', {self.stamp}' * len(stamps)} from incoming"
            f" where not exists (select from {target.relation} as target where {same}"
            f" and ({', '.join(f'target.{identifier(name)}' for name in values)})"
            f" is not distinct from ({', '.join(f'incoming.{identifier(name)}' for name in values)}))"
            f" on conflict ({', '.join(map(identifier, target.key))}) do update set "
            + ", ".join(f"{identifier(name)} = excluded.{identifier(name)}" for name in values)
            + ", extracted_at = excluded.extracted_at"
        )

    def record_rejects(self, found: Rows, settled: str) -> None:
        """Write the rejects found that are new or changed, and resolve those on record that are `settled`.

        Postgres compares them by the key, so the number of rejects on record costs nothing.

        Args:
            found: over REJECT_COLUMNS. Of several with one key, the first by reason and original counts.
            settled: an SQL condition on `ops.rejected_rows as known`: the value was read again, or is gone. A reject
                that was found again stays open even if the condition holds.
        """
        source, key = literal(self._run.source), ", ".join(REJECT_KEY)
        same = " and ".join(f"known.{name} = found.{name}" for name in REJECT_KEY)
        self.copy("rejects_found", dict.fromkeys(REJECT_COLUMNS, "text"), found)
        self.execute(
            f"insert into ops.rejected_rows as target (source, {', '.join(REJECT_COLUMNS)}, extracted_at)"
            f" select {source}, found.*, {self.stamp}"
            f" from (select distinct on ({key}) {', '.join(REJECT_COLUMNS)} from rejects_found"
            f" order by {key}, reason, original) as found"
            f" where not exists (select from ops.rejected_rows as known where known.source = {source} and {same}"
            f" and known.reason = found.reason and known.original is not distinct from found.original and {ON_RECORD})"
            f" on conflict (source, {key}) do update"
            " set reason = excluded.reason, original = excluded.original,"
            " extracted_at = excluded.extracted_at, resolved_at = null, dismissed_at = null"
        )
        self.execute(
            f"update ops.rejected_rows as known set resolved_at = {self.stamp}, dismissed_at = null"
            f" where known.source = {source} and {ON_RECORD} and ({settled})"
            f" and not exists (select from rejects_found as found where {same})"
        )

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Run the block in a savepoint: an error undoes what the block wrote and nothing before it."""
        written = self._written
        with self.connection.cursor() as cursor:
            cursor.execute("savepoint apart")
            try:
                yield
            except BaseException:
                self._written = written
                with suppress(psycopg2.Error):  # a lost connection has rolled back already
                    cursor.execute("rollback to savepoint apart; release savepoint apart")
                raise
            cursor.execute("release savepoint apart")

    def take_out_invalid_json(self, temporary: str, text: str, key: Sequence[str]) -> list[tuple[Any, ...]]:
        """Delete the rows of a temporary table whose text Postgres does not accept as JSON; the rest can be cast.

        Returns:
            The values of the `key` columns of each.
        """
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"delete from pg_temp.{temporary} where staging.try_jsonb({identifier(text)}) is null"
                f" returning {', '.join(map(identifier, key))}"
            )
            return list(cursor.fetchall())


def copy_to_temporary(
    connection: Connection, name: str, columns: Mapping[str, str], rows: Rows, options: str = CSV_OPTIONS
) -> None:
    """Copy rows into a temporary table, emptied before and at commit, with an index on its first column."""
    fields = ", ".join(f"{identifier(column)} {kind}" for column, kind in columns.items())
    with connection.cursor() as cursor:
        cursor.execute(
            f"create temp table if not exists {name} ({fields}) on commit delete rows;"
            f" create index if not exists {name}_first on {name} ({identifier(next(iter(columns)))});"
            f" delete from pg_temp.{name}"
        )
        if isinstance(rows, Sequence):
            execute_values(cursor, f"insert into pg_temp.{name} values %s", rows, page_size=1000)
        else:
            cursor.copy_expert(f"copy pg_temp.{name} from stdin ({options})", rows)


@contextmanager
def landing(run: Run) -> Iterator[Batch]:
    """One landing transaction; the run's record is part of it."""
    with transaction(run.connection):
        batch = Batch(run)
        yield batch
        if batch.written:
            run.update(extracted_at=batch.extracted_at)
