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
    ("account_uid", "exec_id"),
    {"account_uid": "text", "exec_id": "text", "category": "text", "exec_time": "timestamptz", "payload": "jsonb"},
)


@dataclass(frozen=True)
class Landed:
    """The counts of a landed window; `stamp` is the batch's `extracted_at`, None if nothing was written."""

    rows_read: int
    rows_changed: int
    rows_rejected: int
    stamp: datetime | None


def weeks_read(connection: Connection, account_uid: str, category: str) -> dict[datetime, datetime]:
    """How far each week of a category of an account has been read."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select window_start, read_until from staging.bybit_windows where account_uid = %s and category = %s",
            (account_uid, category),
        )
        return {start.astimezone(timezone.utc): until.astimezone(timezone.utc) for start, until in cursor.fetchall()}


def adopt_nameless(run: Run, account_uid: str) -> int:
    """Give the account what landed before accounts had names; return how many executions those are."""
    with run.connection.cursor() as cursor:
        cursor.execute(
            "select (select count(*) from staging.bybit_executions where account_uid = ''),"
            " exists (select from staging.bybit_windows where account_uid = '')"
        )
        executions, has_windows = cursor.fetchone() or (0, False)
        if not executions and not has_windows:
            return 0
    with landing(run) as batch:
        name = literal(account_uid)
        batch.execute(
            f"update staging.bybit_executions set account_uid = {name}, extracted_at = {batch.stamp}"
            " where account_uid = ''"
        )
        batch.execute(f"update staging.bybit_windows set account_uid = {name} where account_uid = ''")
    return int(executions)


def note_bot(run: Run, bot: str | None, trades: int = 0) -> None:
    """Note for `trading.sync_status` which bot the run was given and how many trades are new or restated."""
    with run.connection.cursor() as cursor:
        cursor.execute(
            "insert into staging.bybit_runs (run_id, bot_id, trades_synced) values (%s, %s, %s)"
            " on conflict (run_id) do update set trades_synced = excluded.trades_synced",
            (run.run_id, bot, trades),
        )
        cursor.execute("delete from staging.bybit_runs where run_id < (select min(run_id) from ops.sync_runs)")


def land(run: Run, account_uid: str, window: Window, found: Mapping[str, Item]) -> Landed:
    """Land a window in one transaction: executions, rejects, how far was read, and the run's counts."""
    executions = [item for item in found.values() if isinstance(item, Execution)]
    with landing(run) as batch:
        batch.copy(
            "bybit_found",
            {**EXECUTIONS.columns, "payload": "text"},
            [(account_uid, item.exec_id, window.category, item.exec_time, item.payload) for item in executions],
        )
        invalid = {exec_id for (exec_id,) in batch.take_out_invalid_json("bybit_found", "payload", ["exec_id"])}
        batch.upsert(
            EXECUTIONS, "select account_uid, exec_id, category, exec_time, payload::jsonb as payload from bybit_found"
        )
        changed = batch.written
        rejects = _rejects(window.category, found.values(), invalid)
        batch.record_rejects(
            rejects,
            f"known.entity = {literal(window.category)} and (known.row_key in (select exec_id from bybit_found)"
            " or known.row_key in (select row_key from rejects_found))",
        )
        with run.connection.cursor() as cursor:
            cursor.execute(
                "insert into staging.bybit_windows as known (account_uid, category, window_start, read_until)"
                " values (%s, %s, %s, %s) on conflict (account_uid, category, window_start) do update"
                " set read_until = greatest(known.read_until, excluded.read_until)",
                (account_uid, window.category, window.start, window.until),
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
