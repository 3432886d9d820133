"""The records of runs, `ops.sync_runs`, and the regular clean-up of old records and dead rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg2

from extract.quoting import identifier
from extract.warehouse import Connection, Warehouse, complaint

RETENTION_DAYS = 30
"""Days for which run records and resolved rejects are kept."""
CHANGES = "tradehouse_changes"
"""The channel on which listeners learn which tables have changed."""
LONGEST_PAYLOAD = 7_000
"""Postgres takes 8,000 bytes at most."""
TIDY_EVERY = 100
"""Runs between two clean-ups of old records and dead rows."""
TIDY_ROWS = 1000
"""The most records that one clean-up deletes of each kind, so that it does not take long."""


@dataclass(frozen=True)
class Run:
    """The record of a run (a row of `ops.sync_runs`), written on the connection that holds the run lock."""

    run_id: int
    source: str
    connection: Connection

    @classmethod
    def start(cls, connection: Connection, source: str, command: str) -> Run:
        """Record that a run has begun. Mark earlier runs that never ended as interrupted."""
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
        """Delete old records of the source, except those that later runs still read (see `landing.Batch` and `run`)."""
        with self.connection.cursor() as cursor:
            cursor.execute(
                "delete from ops.sync_runs where run_id in ("
                " select run_id from ops.sync_runs"
                " where source = %(source)s and started_at < clock_timestamp() - make_interval(days => %(days)s)"
                # the next batch takes its `extracted_at` from it
                " and extracted_at is distinct from (select max(extracted_at) from ops.sync_runs)"
                # the next run compares its fingerprint
                " and run_id is distinct from"
                " (select max(run_id) from ops.sync_runs"
                " where source = %(source)s and project_fingerprint is not null)"
                " order by run_id limit %(rows)s)",
                {"source": self.source, "days": RETENTION_DAYS, "rows": TIDY_ROWS},
            )
            cursor.execute(
                "delete from ops.rejected_rows where ctid = any(array("
                " select ctid from ops.rejected_rows"
                " where source = %(source)s and dismissed_at is null"
                " and resolved_at < clock_timestamp() - make_interval(days => %(days)s)"
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

    def conclude(self, problems: Sequence[str], *, due_again: float | None = None, **values: Any) -> float:
        """Close the record as `done`, or as `partial` with its problems; return the seconds the run took.

        `due_again` is the seconds from now until the next run.
        """
        if due_again is not None:
            values["due_again_at"] = datetime.now(timezone.utc) + timedelta(seconds=due_again)
        return self.finish("partial" if problems else "done", error="; ".join(problems) or None, **values)

    def announce(self, models: Sequence[str]) -> None:
        """Send one NOTIFY with the models that this run has brought up to date; none if there are none.

        The payload is JSON: `run_id`, `source`, `extracted_at` (null if nothing landed) and `models`, which is null if
        the list is too long. A listener then has to take every table for changed.
        """
        if not models:
            return
        listed = json.dumps(sorted(models))
        with self.connection.cursor() as cursor:
            cursor.execute(
                "select pg_notify(%s, json_build_object('run_id', run_id, 'source', source,"
                " 'extracted_at', extracted_at, 'models', %s::json)::text) from ops.sync_runs where run_id = %s",
                (CHANGES, listed if len(listed) <= LONGEST_PAYLOAD else None, self.run_id),
            )

    @staticmethod
    def record_past(
        connection: Connection,
        source: str,
        command: str,
        started_at: datetime,
        problems: Sequence[str],
        **values: Any,
    ) -> None:
        """Record work that has already ended and held no run lock."""
        columns = {
            "source": source,
            "command": command,
            "started_at": started_at,
            "status": "partial" if problems else "done",
            "error": "; ".join(problems) or None,
            **values,
        }
        names = ", ".join(map(identifier, columns))
        with connection.cursor() as cursor:
            cursor.execute(
                f"insert into ops.sync_runs ({names}, finished_at)"
                f" values ({', '.join(['%s'] * len(columns))}, clock_timestamp())",
                tuple(columns.values()),
            )

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


@contextmanager
def recorded(connection: Connection, warehouse: Warehouse, source: str, command: str) -> Iterator[Run]:
    """The record of a run. An exception closes it as failed, if the connection still works."""
    run = Run.start(connection, source, command)
    try:
        yield run
    except BaseException as error:
        with suppress(psycopg2.Error):
            run.finish("failed", error=complaint(error, warehouse.uri))
        raise


def last_run_was_clean(connection: Connection, source: str) -> bool:
    """Whether the source's newest run ended and no model failed, so that only new changes need a refresh."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select status in ('done', 'partial') and models_failed = 0 from ops.sync_runs"
            " where source = %s order by run_id desc limit 1",
            (source,),
        )
        row = cursor.fetchone()
    return bool(row and row[0])


def built_fingerprint(connection: Connection, source: str) -> str | None:
    """The digest of the project's files when all of the source's models were last built."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select project_fingerprint from ops.sync_runs"
            " where source = %s and project_fingerprint is not null order by run_id desc limit 1",
            (source,),
        )
        row = cursor.fetchone()
    return row[0] if row else None


def vacuum(connection: Connection, relations: Sequence[str]) -> None:
    """Free the space of dead rows in the records, in staging and in these relations; skip tables that are locked.

    Autovacuum waits for a share of dead rows and may run hours apart. Tables that change every 30 seconds stay smaller
    if they are vacuumed more often.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "select format('%%I.%%I', schemaname, tablename) from pg_tables"
            " where schemaname in ('ops', 'staging') or to_regclass(format('%%I.%%I', schemaname, tablename))"
            " = any(array(select to_regclass(name) from unnest(%s::text[]) as name))",
            (list(relations),),
        )
        tables = [name for (name,) in cursor.fetchall()]
        cursor.execute(f"vacuum (skip_locked, truncate false) {', '.join(tables)}")
