"""Bybit's source: the executions of an account, read in windows of time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from extract.rest import HttpClient, Pace, ServiceError
from extract.run import RunContext
from extract.settings import Project, Settings, load
from extract.source import Outcome, Reading, Source
from extract.sources.bybit.client import Bybit, RejectedRequestError
from extract.sources.bybit.landing import SOURCE, land, weeks_read
from extract.sources.bybit.plan import Window, backfill_windows, sync_windows
from extract.sources.bybit.settings import BybitSettings
from extract.warehouse import Connection


def open_bybit(settings: BybitSettings, stop: threading.Event | None = None) -> tuple[HttpClient, Bybit]:
    """The client of the account in the settings; close the first of the two when done.

    Raises:
        SettingsError: the key or the secret is missing.
    """
    key, secret = settings.require_credentials()
    http = HttpClient(
        settings.bybit_base_url, Pace(1 / settings.bybit_requests_per_second), secrets=(key, secret), stop=stop
    )
    return http, Bybit(http, key, secret)


@dataclass(kw_only=True)
class BybitReading(Reading):
    """What was read; `landed_since` is the `extracted_at` of the first batch that wrote anything."""

    unit: str = "executions"
    landed_since: datetime | None = None


class BybitSource(Source[BybitReading]):
    """Executions of the categories of an account.

    Args:
        settings: the account.
        since: read all weeks from then on that are not yet read in full; without it, see `sync_windows`.
        bot: report only this bot's trades; executions are read for all bots.

    Raises:
        SettingsError: key or secret is missing.
    """

    name = SOURCE

    def __init__(self, settings: BybitSettings, since: datetime | None = None, bot: str | None = None) -> None:
        settings.require_credentials()
        self._settings = settings
        self._since = since
        self._bot = bot

    def read(self, run: RunContext) -> BybitReading:
        """Land window by window, each with how far it was read, so that the next run continues after a killed one.

        A category that Bybit rejects fails alone; an error of the account ends the reading.

        Raises:
            ServiceError: nothing at all could be read.
        """
        reading = BybitReading(parts=self._settings.categories)
        windows = self._windows(run.connection, reading)
        done = 0
        http, bybit = open_bybit(self._settings, run.stop)
        with http:
            for number, window in enumerate(windows):
                if run.stop.is_set():
                    break
                if window.category in reading.failed:
                    continue
                run.progress(f"reading {window.category} from {window.since:%Y-%m-%d %H:%M}", number, len(windows))
                try:
                    found = bybit.executions(window.category, window.since, window.until)
                    landed = land(run.record, window, found)
                except RejectedRequestError as rejected:
                    reading.failed[window.category] = str(rejected)
                except ServiceError as error:
                    if not done:
                        raise
                    reading.error, reading.pause = str(error), error.pause
                    break
                else:
                    done += 1
                    reading.rows_read += landed.rows_read
                    reading.rows_changed += landed.rows_changed
                    reading.rows_rejected += landed.rows_rejected
                    reading.landed_since = reading.landed_since or landed.stamp
        if not done and reading.failed:
            raise RejectedRequestError("; ".join(reading.problems))
        return reading

    def _windows(self, connection: Connection, reading: BybitReading) -> list[Window]:
        """The windows to read, by category, oldest first."""
        now = datetime.now(timezone.utc)
        windows: list[Window] = []
        for category in self._settings.categories:
            read_until = weeks_read(connection, category)
            try:
                windows += (
                    sync_windows(category, read_until, now)
                    if self._since is None
                    else backfill_windows(category, read_until, self._since, now)
                )
            except RejectedRequestError as rejected:
                reading.failed[category] = str(rejected)
        return windows

    def stale_models(self, reading: BybitReading) -> Sequence[str] | None:
        """All of them, if anything has changed."""
        return [] if reading.landed_since is None else None

    def after(self, run: RunContext, outcome: Outcome[BybitReading]) -> None:
        """Add a note on how many trades of each bot are new or restated."""
        if outcome.reading.landed_since is None:
            return
        trades = _changed_trades(run.connection, outcome.reading.landed_since)
        for bot in trades if self._bot is None else [self._bot]:
            outcome.reading.notes.append(f"{bot}: {trades.get(bot, 0):,} trades new or restated")


def _changed_trades(connection: Connection, since: datetime) -> dict[str, int]:
    """How many trades of each bot are new or restated since a batch; empty if the table does not exist yet."""
    with connection.cursor() as cursor:
        cursor.execute("select to_regclass('trading.completed_trades') is not null")
        if cursor.fetchone() != (True,):
            return {}
        cursor.execute(
            "select bot_id, count(*) from trading.completed_trades where updated_at >= %s group by bot_id order by 1",
            (since,),
        )
        return dict(cursor.fetchall())


SETTINGS = BybitSettings


def default_every(_: Settings) -> float:
    """Seconds between the ticks of its service."""
    return 3600


def create(_: Settings, __: Project, since: datetime | None = None, bot: str | None = None) -> BybitSource:
    """The source of the settings; `since` and `bot` as BybitSource has them.

    Raises:
        SettingsError: key or secret is missing, or a setting cannot work.
    """
    return BybitSource(load(BybitSettings), since, bot)


def check(_: Settings, __: Project) -> Iterator[str]:
    """Send one signed request per category; yield what works.

    Raises:
        ServiceError: a request failed.
    """
    settings = load(BybitSettings)
    http, account = open_bybit(settings)
    with http:
        for category in settings.categories:
            ahead = account.probe(category)
            yield (
                f"{http.address} accepts the key, executions of {category} can be read; this machine's clock is "
                f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} Bybit's"
            )
