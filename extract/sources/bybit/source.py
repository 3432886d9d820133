"""Bybit's source: the executions of one account or of several, read in windows of time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from extract.pooling import require_session_pooling
from extract.rest import HttpClient, Pace, ServiceError
from extract.run import RunContext
from extract.secret_files import variables_of
from extract.settings import Project, Settings, load
from extract.source import Outcome, Reading, Source
from extract.sources.bybit.client import AccountError, Bybit, RegionError, RejectedRequestError
from extract.sources.bybit.landing import SOURCE, adopt_nameless, land, note_bot, weeks_read
from extract.sources.bybit.plan import Window, backfill_windows, sync_windows
from extract.sources.bybit.prices import land_prices
from extract.sources.bybit.settings import Account, BybitSettings, named_settings
from extract.warehouse import Connection, open_warehouse

DAYS_A_MONTH = 30.44


def open_bybit(
    settings: BybitSettings, account: Account, stop: threading.Event | None = None
) -> tuple[HttpClient, Bybit]:
    """The client of an account; close the first of the two when done."""
    http = HttpClient(
        account.base_url,
        Pace(1 / settings.bybit_requests_per_second),
        secrets=(account.key, account.secret),
        stop=stop,
    )
    return http, Bybit(http, account.key, account.secret, account.name)


@dataclass(kw_only=True)
class BybitReading(Reading):
    """What was read; `landed_since` is the `extracted_at` of the first batch that wrote anything."""

    unit: str = "executions"
    landed_since: datetime | None = None
    done: int = 0  # windows


class BybitSource(Source[BybitReading]):
    """Executions of the categories of each account.

    Args:
        settings: the accounts.
        since: read all weeks from then on that are not yet read in full; without it, see `sync_windows`.
        bot: report only this bot's trades; executions are read for all bots.
        begins: read an account of which nothing has been read from `bybit_backfill_months` ago on.

    Raises:
        SettingsError: key or secret is missing.
    """

    name = SOURCE

    def __init__(
        self, settings: BybitSettings, since: datetime | None = None, bot: str | None = None, begins: bool = False
    ) -> None:
        self._accounts = settings.require_accounts()
        self._settings = settings
        self._since = since
        self._bot = bot
        self._begins = begins

    def read(self, run: RunContext) -> BybitReading:
        """Land window by window, each with how far it was read, so that the next run continues after a killed one.

        A category that Bybit rejects fails alone, and so does an account whose key is wrong, beside others. Any other
        error ends the reading.

        Raises:
            ServiceError: nothing at all could be read.
        """
        categories = self._settings.categories
        reading = BybitReading(parts=[account.label(each) for account in self._accounts for each in categories])
        if self._bot is not None:
            note_bot(run.record, self._bot)
        for account in self._accounts:
            try:
                self._read_account(run, account, reading)
            except AccountError as error:
                if len(self._accounts) == 1 or isinstance(error, RegionError):
                    raise
                reading.failed |= {account.label(each): str(error) for each in categories}
            if reading.error is not None or run.stop.is_set():
                break
        if not reading.done and reading.failed:
            raise RejectedRequestError("; ".join(reading.problems))
        return reading

    def _read_account(self, run: RunContext, account: Account, reading: BybitReading) -> None:
        """Read one account into the reading.

        Raises:
            AccountError: its key is wrong, or the clock.
            ServiceError: nothing has been read so far.
        """
        http, bybit = open_bybit(self._settings, account, run.stop)
        with http:
            try:
                uid = bybit.account_uid()
                # the first, also where its key fails today: another one's trades would stay another one's
                if account is self._accounts[0] and (nameless := adopt_nameless(run.record, uid)):
                    reading.notes.append(f"{nameless:,} executions that named no account are now of account {uid}")
                windows = self._windows(run.connection, account, uid, reading)
                for number, window in enumerate(windows):
                    label = account.label(window.category)
                    if run.stop.is_set():
                        break
                    if label in reading.failed:
                        continue
                    run.progress(f"reading {label} from {window.since:%Y-%m-%d %H:%M}", number, len(windows))
                    try:
                        self._read_window(run, bybit, uid, window, reading)
                    except RejectedRequestError as rejected:
                        reading.failed[label] = str(rejected)
                priced = land_prices(run.record, bybit, reading.landed_since, reading.notes)
                reading.landed_since = reading.landed_since or priced
            except ServiceError as error:
                alone = isinstance(error, AccountError) and len(self._accounts) > 1
                if alone or not reading.done:
                    raise
                reading.error, reading.pause = str(error), error.pause

    def _read_window(self, run: RunContext, bybit: Bybit, uid: str, window: Window, reading: BybitReading) -> None:
        found = bybit.executions(window.category, window.since, window.until)
        if window.category == "option":
            found |= bybit.deliveries(window.since, window.until)
        landed = land(run.record, uid, window, found)
        reading.done += 1
        reading.rows_read += landed.rows_read
        reading.rows_changed += landed.rows_changed
        reading.rows_rejected += landed.rows_rejected
        reading.landed_since = reading.landed_since or landed.stamp

    def _windows(self, connection: Connection, account: Account, uid: str, reading: BybitReading) -> list[Window]:
        """The windows of an account to read, by category, oldest first."""
        now = datetime.now(timezone.utc)
        windows: list[Window] = []
        for category in self._settings.categories:
            read_until = weeks_read(connection, uid, category)
            since = self._since
            if since is None and self._begins and not read_until:
                since = now - timedelta(days=self._settings.bybit_backfill_months * DAYS_A_MONTH)
            try:
                windows += (
                    sync_windows(category, read_until, now, timedelta(hours=self._settings.bybit_overlap_hours))
                    if since is None
                    else backfill_windows(category, read_until, since, now)
                )
            except RejectedRequestError as rejected:
                reading.failed[account.label(category)] = str(rejected)
        return windows

    def stale_models(self, reading: BybitReading) -> Sequence[str] | None:
        """All of them, if anything has changed."""
        return [] if reading.landed_since is None else None

    def after(self, run: RunContext, outcome: Outcome[BybitReading]) -> None:
        """Add a note on how many trades of each bot are new or restated."""
        if outcome.reading.landed_since is None:
            return
        trades = _changed_trades(run.connection, outcome.reading.landed_since)
        note_bot(run.record, self._bot, sum(trades.values()) if self._bot is None else trades.get(self._bot, 0))
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


def more_settings() -> set[str]:
    """The variables of the accounts that BYBIT_ACCOUNTS names.

    Raises:
        SettingsError: a setting cannot work.
    """
    return set(variables_of(named_settings(load(BybitSettings).names)))


def default_every(_: Settings) -> float:
    """Seconds between the ticks of its service."""
    return 3600


def create(
    _: Settings, __: Project, since: datetime | None = None, bot: str | None = None, begins: bool = False
) -> BybitSource:
    """The source of the settings; the arguments as BybitSource has them.

    Raises:
        SettingsError: key or secret is missing, or a setting cannot work.
    """
    return BybitSource(load(BybitSettings), since, bot, begins)


def check(warehouse_settings: Settings, _: Project) -> Iterator[str]:
    """Send a signed request per account and category, and connect to the warehouse; yield what works.

    Raises:
        ServiceError: a request failed.
        WarehouseError: the warehouse cannot be used.
    """
    settings = load(BybitSettings)
    for account in settings.require_accounts():
        http, bybit = open_bybit(settings, account)
        with http:
            uid = bybit.account_uid()
            for category in settings.categories:
                ahead = bybit.probe(category)
                yield (
                    f"{http.address} accepts the key of account {uid}, executions of {category} can be read; this "
                    f"machine's clock is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} Bybit's"
                )
    warehouse = open_warehouse(warehouse_settings)
    with closing(warehouse.connect("bybit test", autocommit=True)) as connection:
        require_session_pooling(connection)
    yield f"{warehouse.description} can be reached"
