"""The accounts' source: the API beside the MetaTrader 5 terminals, polled account by account."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from extract.rest import Bounds, HttpClient, Pace, ServiceError
from extract.run import RunContext
from extract.settings import Project, Settings, load
from extract.source import Reading, Source
from extract.sources.accounts.client import AccountClient
from extract.sources.accounts.due import accounts_in_turn
from extract.sources.accounts.landing import SOURCE, land, prune
from extract.sources.accounts.poll import AccountResult, polled
from extract.sources.accounts.settings import AccountsSettings

LARGE_AT_ONCE = 2
"""How many large replies are in memory at once; each may take 100 MB until its items are sorted."""
BOUNDS = Bounds(silence=30.0, reply=30.0, size=8 * 1024 * 1024, attempts=2)


def open_client(settings: AccountsSettings, stop: threading.Event | None = None) -> tuple[HttpClient, AccountClient]:
    """The client of the API that the settings name; close the first of the two when done.

    Raises:
        SettingsError: the address or the key is missing.
    """
    address = settings.require_service()
    key, token, most = (
        settings.mt5_service_api_key,
        settings.mt5_service_token,
        settings.mt5_service_requests_per_minute,
    )
    http = HttpClient(
        address,
        Pace(60 / most if most else 0, sleep=stop.wait if stop else time.sleep),
        secrets=[secret for secret in (key, token) if secret],
        bounds=BOUNDS,
        stop=stop,
        ca_file=settings.mt5_service_ca_file,
        large_at_once=LARGE_AT_ONCE,
    )
    return http, AccountClient(http, key, token)


@dataclass(kw_only=True)
class AccountsReading(Reading):
    """The result of each account, in the order of polling."""

    execution_id: str
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
            # nothing to do is a success, and so is any account of which something landed
            "success": not self.accounts or any(each.status in ("success", "partial") for each in self.accounts),
            "executionId": self.execution_id,
            "totalAccounts": len(self.accounts),
            "successCount": self.count("success"),
            "failureCount": self.count("failed"),
            "partialCount": self.count("partial"),
            "skippedCount": self.count("skipped"),
            "syncResults": [
                {
                    "executionId": self.execution_id,
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
        reading = AccountsReading(execution_id=str(uuid4()))
        if run.record.tidies:  # before the refresh, so that the tables match what is kept
            prune(run.connection)
        accounts = accounts_in_turn(run.connection)
        budget = self._settings.mt5_sync_budget_seconds
        http, client = open_client(self._settings, run.stop)
        with http:
            deadline = time.monotonic() + budget
            together = self._settings.mt5_service_concurrency
            batches = polled(client, accounts, deadline, budget, run.stop, run.progress, together, reading.execution_id)
            try:
                for batch in batches:
                    reading.rows_changed += land(run.record, batch, self._sync_type, reading.execution_id)
                    for account in batch:
                        account.settle()
                    reading.accounts += batch
            except ServiceError as error:
                if not reading.accounts:
                    raise
                reading.error = str(error)  # what has landed stays
        reading.parts = [f"account {each.account_id}" for each in reading.accounts if each.status != "skipped"]
        reading.failed = {
            f"account {each.account_id}": each.error_message for each in reading.accounts if each.error_message
        }
        reading.rows_read = sum(each.rows_read for each in reading.accounts)
        return reading

    def stale_models(self, _: AccountsReading) -> Sequence[str] | None:
        """All of them: the register may have changed, too."""
        return None


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
    yield from check_account("0", must_exist=False)


def check_account(account: str, must_exist: bool) -> Iterator[str]:
    """Ask the API whether it is up, and whether it accepts the key for an account.

    Raises:
        ServiceError: it is not, or it does not; or it does not know the account although it must exist.
    """
    http, client = open_client(load(AccountsSettings))
    with http:
        yield f"{http.address} is well; it answered in {client.health():.2f} s"
        info = client.info(account)
        if info.error and (must_exist or not info.is_answer):
            raise ServiceError(info.error)
        yield f"it gives the info of account {account}" if must_exist else "it accepts the key"
