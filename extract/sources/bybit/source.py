"""The cycle of Bybit: read windows of time, land each with how far it reaches, build the models, record the run."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import datetime, timezone

from extract.records import Run
from extract.rest import HttpClient, Pace, ServiceError
from extract.rest_run import Progress, RestSource
from extract.settings import Settings
from extract.sources.bybit.client import Bybit, RefusedError
from extract.sources.bybit.landing import BybitResult, land, weeks_read
from extract.sources.bybit.plan import Window, backfill_windows, sync_windows


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
        read_until = weeks_read(run.connection, category)
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
            land(run, window, bybit.executions(window.category, window.since, window.until), result)
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
