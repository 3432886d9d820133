"""The cycle of Bybit: read windows of time, land each with how far it reaches, build the models, record the run."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from extract.dbt_runner import TransformResult
from extract.landing import StagingTable, landing_rows
from extract.records import Run
from extract.rejects import open_rejects
from extract.rest import HttpClient, Pace, ServiceError, Unusable
from extract.rest_run import Progress, RestSource
from extract.settings import Settings
from extract.sources.bybit.client import EPOCH, HISTORY, LONGEST_SPAN, Bybit, Execution, Item, RefusedError
from extract.warehouse import Connection

SOURCE = "bybit"
EXECUTIONS = StagingTable(
    "bybit_executions",
    ("exec_id",),
    {"exec_id": "text", "category": "text", "exec_time": "timestamptz", "payload": "jsonb"},
)
OVERLAP = timedelta(hours=2)
"""How far behind what has been read a sync reads again, for executions that Bybit lists late."""
HISTORY_MARGIN = timedelta(minutes=5)
"""Bybit refuses what is older than its history, and time passes between our clock and its answer."""


@dataclass(frozen=True)
class Window:
    """A span of one category to read, within the week that begins at `start`."""

    category: str
    start: datetime
    since: datetime
    until: datetime


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


def open_bybit(settings: Settings, stop: threading.Event | None = None) -> tuple[HttpClient, Bybit]:
    """The account of the settings; close the client when done.

    Raises:
        SettingsError: key or secret is missing.
    """
    key, secret = settings.require_bybit_credentials()
    http = HttpClient(
        settings.bybit_base_url, Pace(1 / settings.bybit_requests_per_second), secrets=(key, secret), stop=stop
    )
    return http, Bybit(http, key, secret)


def run_bybit(
    source: RestSource,
    command: str,
    *,
    since: datetime | None = None,
    tests: bool = False,
    stop: threading.Event | None = None,
    progress: Progress = lambda *_: None,
) -> BybitResult:
    """Read, land, build, record.

    Each window is landed in one transaction with how far it reaches, so a run that is killed goes on where it
    was. Models are built when anything has changed, when the project has, or when the run before left some undone.

    Args:
        source: Bybit, with the settings.
        command: what the run record and pg_stat_activity call it.
        since: read every week from then on that has not been read to its end; without it, see `sync_windows`.
        tests: run every dbt test of this source's models, too.
        stop: ends the reading after the window in hand.
        progress: told of each window.

    Raises:
        LockHeldError: another run of this source is at work.
        SettingsError: key or secret is missing.
        ServiceError, WarehouseError, TransformError: nothing could be done; the run record says the same.
    """
    stop = stop or threading.Event()
    http, bybit = open_bybit(source.settings, stop)
    categories = source.settings.bybit_categories.split(",")
    with http, source.recorded(command) as at_work:
        result = _read_all(bybit, at_work.run, categories, since, stop, progress)
        result.transform = at_work.build(result.landed_since is not None, tests, progress)
        result.seconds = at_work.conclude(result.problems, result.transform)
    return result


def backfill_windows(
    category: str, read_until: Mapping[datetime, datetime], since: datetime, now: datetime
) -> list[Window]:
    """The weeks from `since` to `now` that have not been read to their end, oldest first.

    Args:
        category: the category.
        read_until: start of a week -> how far it has been read.
        since: its week is read from its start on, as far back as Bybit keeps executions.
        now: the end of the last one.
    """
    return [
        window
        for window in _weeks(category, _week(since), now)
        if read_until.get(window.start, EPOCH) < window.start + LONGEST_SPAN
    ]


def sync_windows(category: str, read_until: Mapping[datetime, datetime], now: datetime) -> list[Window]:
    """The weeks a backfill has left out, then what follows the end of what has been read, less `OVERLAP`.

    Raises:
        RefusedError: nothing has been read yet, so that nobody knows where to begin.
    """
    if not read_until:
        raise RefusedError("nothing has been read yet: run tradehouse bybit backfill first")
    newest = _weeks(category, max(read_until.values()) - OVERLAP, now)
    missing = backfill_windows(category, read_until, min(read_until), now)
    return [window for window in missing if newest and window.start < newest[0].start] + newest


def _weeks(category: str, since: datetime, now: datetime) -> list[Window]:
    """A span cut at the starts of weeks, and at the end of Bybit's history."""
    since = max(since, now - HISTORY + HISTORY_MARGIN)
    windows = []
    while since < now:
        start = _week(since)
        until = min(start + LONGEST_SPAN, now)
        windows.append(Window(category, start, since, until))
        since = until
    return windows


def _week(moment: datetime) -> datetime:
    """The start of the week of a moment; weeks of `LONGEST_SPAN` count from 1970-01-01 00:00 UTC."""
    return EPOCH + (moment - EPOCH) // LONGEST_SPAN * LONGEST_SPAN


def _read_all(
    bybit: Bybit,
    run: Run,
    categories: Iterable[str],
    since: datetime | None,
    stop: threading.Event,
    progress: Progress,
) -> BybitResult:
    """Read and land what is due. A category that is refused fails alone; what concerns the account ends it all.

    Raises:
        ServiceError: nothing at all could be read.
    """
    result = BybitResult()
    now = datetime.now(timezone.utc)
    windows: list[Window] = []
    for category in categories:
        read_until = _read_until(run.connection, category)
        try:
            windows += (
                sync_windows(category, read_until, now)
                if since is None
                else backfill_windows(category, read_until, since, now)
            )
        except RefusedError as refused:
            result.failures[category] = str(refused)
    for number, window in enumerate(windows):
        if stop.is_set():
            break
        if window.category in result.failures:
            continue
        progress(f"reading {window.category} from {window.since:%Y-%m-%d %H:%M}", number, len(windows))
        try:
            _land(run, window, bybit.executions(window.category, window.since, window.until), result)
        except RefusedError as refused:
            result.failures[window.category] = str(refused)
        except ServiceError as error:
            result.stopped = error
            break
    if not result.windows and result.stopped:
        raise result.stopped
    if not result.windows and result.failures:
        raise RefusedError("; ".join(result.problems))
    return result


def _read_until(connection: Connection, category: str) -> dict[datetime, datetime]:
    """How far each week of a category has been read."""
    with connection.cursor() as cursor:
        cursor.execute("select window_start, read_until from staging.bybit_windows where category = %s", (category,))
        return {start.astimezone(timezone.utc): until.astimezone(timezone.utc) for start, until in cursor.fetchall()}


def _land(run: Run, window: Window, found: Mapping[str, Item], result: BybitResult) -> None:
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
