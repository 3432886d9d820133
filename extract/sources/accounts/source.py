"""The cycle of MT5 accounts: poll every active account, land batch by batch, build the models, record the run."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from extract.dbt_runner import TransformResult
from extract.rest import Bounds, HttpClient, Pace
from extract.rest_run import Progress, RestSource
from extract.settings import Settings
from extract.sources.accounts.client import AccountService
from extract.sources.accounts.landing import land, prune_results
from extract.sources.accounts.poll import AccountResult, polled
from extract.warehouse import Connection

BOUNDS = Bounds(silence=30.0, reply=30.0, size=8 * 1024 * 1024, attempts=2)


log = logging.getLogger("tradehouse")


@dataclass
class AccountsResult:
    """What one run did; the accounts in the order they were polled. Without an id it has not run."""

    execution_id: int | None
    accounts: list[AccountResult] = field(default_factory=list)
    rows_changed: int = 0
    transform: TransformResult = field(default_factory=TransformResult)
    seconds: float = 0.0

    def count(self, status: str) -> int:
        """How many accounts ended so."""
        return sum(account.status == status for account in self.accounts)

    @property
    def problems(self) -> list[str]:
        """What could not be read or built, each in one line."""
        unread = [f"account {each.account_id}: {each.error_message}" for each in self.accounts if each.error_message]
        return unread + self.transform.problems

    @property
    def ok(self) -> bool:
        """Whether every account was read whole and everything built."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """For JSON, by the names customers of the command know."""
        return {
            "success": self.ok,
            "executionId": self.execution_id,
            "totalAccounts": len(self.accounts),
            "successCount": self.count("success"),
            "failureCount": self.count("failed"),
            "partialCount": self.count("partial"),
            "skippedCount": self.count("skipped"),
            "duration_ms": round(self.seconds * 1000),
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


def open_service(settings: Settings, stop: threading.Event | None = None) -> tuple[HttpClient, AccountService]:
    """The account service of the settings; close the client when done.

    Raises:
        SettingsError: address or key is missing.
    """
    address, key = settings.require_mt5_service()
    http = HttpClient(address, Pace(0), secrets=[key], bounds=BOUNDS, stop=stop)
    return http, AccountService(http, key)


def sync_accounts(
    source: RestSource,
    command: str,
    sync_type: str,
    *,
    budget: float,
    tests: bool = False,
    stop: threading.Event | None = None,
    progress: Progress = lambda *_: None,
) -> AccountsResult:
    """Poll, land, build, record.

    Each batch of accounts is landed in one transaction with how its accounts fared and where their next poll begins,
    so a run that is killed has lost the batch in hand at most, whose accounts are the first of the next run.

    Args:
        source: the accounts, with the settings.
        command: what the run record and pg_stat_activity call it.
        sync_type: `scheduled` or `manual`.
        budget: seconds within which all polls end. No batch begins that would not be done in time if it took as long
            as the longest so far; its accounts are recorded as skipped, and are first in line next time.
        tests: run every dbt test of this source's models, too.
        stop: ends the polling after the batch in hand.
        progress: told of each batch.

    Raises:
        LockHeldError: another run of this source is at work.
        SettingsError: address or key of the service is missing.
        WarehouseError, TransformError: it could not run; the run record says the same.
    """
    stop = stop or threading.Event()
    http, service = open_service(source.settings, stop)
    with http, source.recorded(command) as at_work:
        run = at_work.run
        result = AccountsResult(run.run_id)
        accounts = _accounts_in_turn(run.connection)
        deadline = time.monotonic() + budget
        for batch in polled(service, accounts, deadline, budget, stop, progress):
            result.rows_changed += land(run, batch, sync_type)
            result.accounts += batch
        if run.tidies:
            prune_results(run.connection)
        result.transform = at_work.build(bool(result.accounts), tests, progress)
        result.seconds = at_work.conclude(result.problems, result.transform)
    return result


def _accounts_in_turn(connection: Connection) -> dict[str, datetime | None]:
    """Active accounts, those first whose last attempt is longest ago; each with how far its history is known."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select account.id, mark.history_until from accounts.registered_accounts as account"
            " left join staging.mt5_account_marks as mark on mark.account_id = account.id"
            " where account.is_active order by mark.attempted_at nulls first, account.created_at, account.id"
        )
        return dict(cursor.fetchall())
