"""Lands a window of executions, and stores how far executions have been read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

from extract.landing import StagingTable, landing
from extract.quoting import literal
from extract.records import Run
from extract.rejects import Reject
from extract.sources.bybit.client import Execution, Item
from extract.sources.bybit.plan import Window
from extract.warehouse import Connection

SOURCE = "bybit"
EXECUTIONS = StagingTable(
    "bybit_executions",
    ("exec_id",),
    {"exec_id": "text", "category": "text", "exec_time": "timestamptz", "payload": "jsonb"},
)


@dataclass(frozen=True)
class Landed:
    """The counts of a landed window; `stamp` is the batch's `extracted_at`, None if nothing was written."""

    rows_read: int
    rows_changed: int
    rows_rejected: int
    stamp: datetime | None


def weeks_read(connection: Connection, category: str) -> dict[datetime, datetime]:
    """How far each week of a category has been read."""
    with connection.cursor() as cursor:
        cursor.execute("select window_start, read_until from staging.bybit_windows where category = %s", (category,))
        return {start.astimezone(timezone.utc): until.astimezone(timezone.utc) for start, until in cursor.fetchall()}


def land(run: Run, window: Window, found: Mapping[str, Item]) -> Landed:
    """Land a window in one transaction: executions, rejects, how far was read, and the run's counts."""
    executions = [item for item in found.values() if isinstance(item, Execution)]
    with landing(run) as batch:
        batch.copy(
            "bybit_found",
            {**EXECUTIONS.columns, "payload": "text"},
            [(item.exec_id, window.category, item.exec_time, item.payload) for item in executions],
        )
        invalid = {exec_id for (exec_id,) in batch.take_out_invalid_json("bybit_found", "payload", ["exec_id"])}
        batch.upsert(EXECUTIONS, "select exec_id, category, exec_time, payload::jsonb as payload from bybit_found")
        changed = batch.written
        rejects = _rejects(window.category, found.values(), invalid)
        batch.record_rejects(
            rejects,
            f"known.entity = {literal(window.category)} and (known.row_key in (select exec_id from bybit_found)"
            " or known.row_key in (select row_key from rejects_found))",
        )
        with run.connection.cursor() as cursor:
            cursor.execute(
                "insert into staging.bybit_windows as known (category, window_start, read_until) values (%s, %s, %s)"
                " on conflict (category, window_start) do update"
                " set read_until = greatest(known.read_until, excluded.read_until)",
                (window.category, window.start, window.until),
            )
            cursor.execute(
                "update ops.sync_runs set range_start = least(range_start, %s), range_end = greatest(range_end, %s)"
                " where run_id = %s",
                (window.since, window.until, run.run_id),
            )
        run.count(rows_read=len(found), rows_changed=changed, rows_rejected=len(rejects))
    return Landed(len(found), changed, len(rejects), batch.extracted_at if batch.written else None)


def _rejects(category: str, found: Iterable[Item], invalid: set[str]) -> list[tuple[str, str, str, str, str]]:
    """The rejects, over REJECT_COLUMNS; `invalid` are the ids of items that Postgres does not accept as JSON."""
    rejects = []
    for item in found:
        if isinstance(item, Reject):
            rejects.append((category, item.key, item.field, item.reason, item.payload))
        elif item.exec_id in invalid:
            rejects.append((category, item.exec_id, "payload", "not valid JSON for Postgres", item.payload))
    return rejects
