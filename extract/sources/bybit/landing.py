"""A window of executions, landed with how far it reaches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone

from extract.dbt_runner import TransformResult
from extract.landing import StagingTable, landing_rows
from extract.records import Run
from extract.rejects import open_rejects
from extract.rest import ServiceError, Unusable
from extract.sources.bybit.client import Execution, Item
from extract.sources.bybit.plan import Window
from extract.warehouse import Connection

SOURCE = "bybit"
EXECUTIONS = StagingTable(
    "bybit_executions",
    ("exec_id",),
    {"exec_id": "text", "category": "text", "exec_time": "timestamptz", "payload": "jsonb"},
)


@dataclass
class BybitResult:
    """What one run did.

    Attributes:
        windows: spans read and landed.
        rows_read: executions in them.
        rows_changed: executions that were new to staging or different there.
        rows_rejected: items that could not land.
        failures: by category, why it could not be read or not to the end.
        stopped: what ended the reading for all of them.
        landed_since: stamp of the first batch that changed anything.
        transform: what dbt did.
        seconds: how long it took.
    """

    windows: int = 0
    rows_read: int = 0
    rows_changed: int = 0
    rows_rejected: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    stopped: ServiceError | None = None
    landed_since: datetime | None = None
    transform: TransformResult = field(default_factory=TransformResult)
    seconds: float = 0.0

    @property
    def problems(self) -> list[str]:
        """What could not be read or built, each in one line."""
        unread = [f"{category}: {message}" for category, message in self.failures.items()]
        return unread + ([str(self.stopped)] if self.stopped else []) + self.transform.problems

    @property
    def ok(self) -> bool:
        """Whether everything was read and built."""
        return not self.problems


def weeks_read(connection: Connection, category: str) -> dict[datetime, datetime]:
    """How far each week of a category has been read."""
    with connection.cursor() as cursor:
        cursor.execute("select window_start, read_until from staging.bybit_windows where category = %s", (category,))
        return {start.astimezone(timezone.utc): until.astimezone(timezone.utc) for start, until in cursor.fetchall()}


def land(run: Run, window: Window, found: Mapping[str, Item], result: BybitResult) -> None:
    """Land a window: its executions, its rejects, how far it reaches and the run's counts, all or nothing."""
    executions = [item for item in found.values() if isinstance(item, Execution)]
    with landing_rows(run) as batch:
        batch.copy(
            "bybit_found",
            {**EXECUTIONS.columns, "payload": "text"},
            [(item.exec_id, window.category, item.exec_time, item.payload) for item in executions],
        )
        refused = {exec_id for (exec_id,) in batch.take_out_refused("bybit_found", "payload", ["exec_id"])}
        batch.upsert(EXECUTIONS, "select exec_id, category, exec_time, payload::jsonb as payload from bybit_found")
        changed = batch.written
        rejects = _rejects(window.category, found.values(), refused)
        known = set(open_rejects(run.connection, SOURCE))
        gone = {item.exec_id for item in executions} - refused
        batch.record_rejects(
            [reject for reject in rejects if reject not in known],
            [reject[:3] for reject in known if reject[0] == window.category and reject[1] in gone],
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
    result.windows += 1
    result.rows_read += len(found)
    result.rows_changed += changed
    result.rows_rejected += len(rejects)
    if batch.written and result.landed_since is None:
        result.landed_since = batch.extracted_at


def _rejects(category: str, found: Iterable[Item], refused: set[str]) -> list[tuple[str, str, str, str, str]]:
    """What cannot land, over REJECT_COLUMNS; `refused` are the ids of what Postgres does not take for JSON."""
    rejects = []
    for item in found:
        if isinstance(item, Unusable):
            rejects.append((category, item.key, item.field, item.reason, item.payload))
        elif item.exec_id in refused:
            rejects.append((category, item.exec_id, "payload", "Postgres does not take it for JSON", item.payload))
    return rejects
