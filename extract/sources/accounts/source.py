"""The accounts' source: the API beside the MetaTrader 5 terminals, polled account by account."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from extract.rest import Bounds, HttpClient, Pace
from extract.run import RunContext
from extract.settings import Project, Settings, load
from extract.source import Reading, Source
from extract.sources.accounts.client import AccountClient
from extract.sources.accounts.landing import SOURCE, land, prune_results
from extract.sources.accounts.poll import AccountResult, polled
from extract.sources.accounts.settings import AccountsSettings
from extract.warehouse import Connection

BOUNDS = Bounds(silence=30.0, reply=30.0, size=8 * 1024 * 1024, attempts=2)


def open_client(settings: AccountsSettings, stop: threading.Event | None = None) -> tuple[HttpClient, AccountClient]:
    """The client of the API that the settings name; close the first of the two when done.

    Raises:
        SettingsError: the address or the key is missing.
    """
    address, key = settings.require_service()
    http = HttpClient(address, Pace(0), secrets=[key], bounds=BOUNDS, stop=stop)
    return http, AccountClient(http, key)


@dataclass(kw_only=True)
class AccountsReading(Reading):
    """The result of each account, in the order of polling."""

    run_id: int
    accounts: list[AccountResult] = field(default_factory=list)

    def count(self, status: str) -> int:
        """How many accounts have this status."""
        return sum(account.status == status for account in self.accounts)

    @property
    def summary(self) -> str:
        """What was polled, for the last line of a run's output."""
        if not self.accounts:
            return "no account is active (tradehouse accounts add registers one)"
        counts = [f"{self.count(status)} {status}" for status in ("success", "partial", "failed", "skipped")]
        return f"{len(self.accounts)} accounts: {', '.join(counts)}; {self.rows_changed:,} rows changed"

    def details(self) -> dict[str, Any]:
        """The counts and results, under the field names that users of `--json` expect."""
        return {
            "executionId": self.run_id,
            "totalAccounts": len(self.accounts),
            "successCount": self.count("success"),
            "failureCount": self.count("failed"),
            "partialCount": self.count("partial"),
            "skippedCount": self.count("skipped"),
            "syncResults": [
                {
                    "account_id": each.account_id,
                    "status": each.status,
                    "started_at": each.started_at.isoformat(),
                    "completed_at": each.completed_at.isoformat(),
                    "duration_ms": each.duration_ms,
                    "trades_synced": each.trades_synced,
                    "error_message": each.error_message,
                }
                for each in self.accounts
            ],
        }


class AccountsSource(Source[AccountsReading]):
    """Every active account: balance, positions, history.

    Args:
        settings: the address of the API, and the budget of time.
        sync_type: `scheduled` or `manual`, for the log.

    Raises:
        SettingsError: address or key of the service is missing.
    """

    name = SOURCE

    def __init__(self, settings: AccountsSettings, sync_type: str = "manual") -> None:
        settings.require_service()
        self._settings = settings
        self._sync_type = sync_type

    def read(self, run: RunContext) -> AccountsReading:
        """Land batch by batch, each in one transaction with its accounts' results and where their next poll begins.

        A run that is killed loses at most the current batch; the next run begins with its accounts. When the budget is
        used up, the remaining accounts are recorded as skipped, and the next run begins with them.
        """
        reading = AccountsReading(run_id=run.record.run_id)
        if run.record.tidies:  # before the refresh, so that the tables match what is kept
            prune_results(run.connection)
        accounts = _accounts_in_turn(run.connection)
        budget = self._settings.mt5_sync_budget_seconds
        http, client = open_client(self._settings, run.stop)
        with http:
            for batch in polled(client, accounts, time.monotonic() + budget, budget, run.stop, run.progress):
                reading.rows_changed += land(run.record, batch, self._sync_type)
                reading.accounts += batch
        reading.parts = [f"account {each.account_id}" for each in reading.accounts if each.status != "skipped"]
        reading.failed = {
            f"account {each.account_id}": each.error_message for each in reading.accounts if each.error_message
        }
        reading.rows_read = sum(len(listing.items) for each in reading.accounts for listing in each.listings.values())
        return reading

    def stale_models(self, reading: AccountsReading) -> Sequence[str] | None:
        """All of them, if any account was polled."""
        return None if reading.accounts else []


def _accounts_in_turn(connection: Connection) -> dict[str, datetime | None]:
    """Active accounts, longest not tried first, each with the time up to which its history has been read."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select account.id, mark.history_until from accounts.registered_accounts as account"
            " left join staging.mt5_account_marks as mark on mark.account_id = account.id"
            " where account.is_active order by mark.attempted_at nulls first, account.created_at, account.id"
        )
        return dict(cursor.fetchall())


SETTINGS = AccountsSettings


def default_every(_: Settings) -> float:
    """Seconds between the ticks of its service."""
    return 300


def create(_: Settings, __: Project, sync_type: str = "manual") -> AccountsSource:
    """The source of the settings.

    Raises:
        SettingsError: address or key of the service is missing, or a setting cannot work.
    """
    return AccountsSource(load(AccountsSettings), sync_type)


def check(_: Settings, __: Project) -> Iterator[str]:
    """Ask the API whether it is up.

    Raises:
        ServiceError: it is not.
    """
    http, client = open_client(load(AccountsSettings))
    with http:
        yield f"{http.address} is well; it answered in {client.health():.2f} s"
