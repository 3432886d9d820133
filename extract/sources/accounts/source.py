"""The cycle of MT5 accounts: poll every active account, land batch by batch, build the models, record the run."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from extract.dbt_runner import TransformResult
from extract.landing import RowBatch, StagingTable, landing_rows
from extract.quoting import literal
from extract.records import RETENTION_DAYS, Run
from extract.rejects import open_rejects
from extract.rest import Bounds, HttpClient, Pace, Unusable
from extract.rest_run import Progress, RestSource
from extract.settings import Settings
from extract.sources.accounts.client import CLOCKS_APART, AccountService, Listing
from extract.warehouse import Connection

SOURCE = "accounts"
ENDPOINTS = ("info", "positions", "history")
TOGETHER = 10
"""Accounts that are polled at once."""
PAUSE = 0.1
"""Seconds between one batch and the next."""
BOUNDS = Bounds(silence=30.0, reply=30.0, size=8 * 1024 * 1024, attempts=2)
FIRST_HISTORY = timedelta(days=30)
"""How far back the history of an account is read that has never been."""
STOPPED = "the sync was told to stop"

INFO = StagingTable("mt5_account_info", ("account_id",), {"account_id": "text", "payload": "jsonb"})
POSITIONS = StagingTable(
    "mt5_positions",
    ("account_id", "ticket"),
    {"account_id": "text", "ticket": "text", "payload": "jsonb", "is_listed": "boolean"},
)
HISTORY = StagingTable(
    "mt5_history",
    ("account_id", "ticket"),
    {"account_id": "text", "ticket": "text", "payload": "jsonb"},
    first_stamp="landed_at",
)
RESULTS = StagingTable(
    "mt5_sync_results",
    ("account_id", "run_id"),
    {
        "run_id": "bigint",
        "account_id": "text",
        "sync_type": "text",
        "started_at": "timestamptz",
        "completed_at": "timestamptz",
        "status": "text",
        "trades_synced": "integer",
        "error_message": "text",
    },
)
FOUND = {"account_id": "text", "kind": "text", "ticket": "text", "body": "text"}
"""One item of a reply; `kind` is the endpoint."""

log = logging.getLogger("tradehouse")


@dataclass
class AccountResult:
    """How one account fared in a run.

    Attributes:
        account_id: which.
        started_at: when its poll began.
        completed_at: when the last reply was there.
        listings: endpoint -> what it said; empty where the account was skipped.
        skipped: why it was not polled.
    """

    account_id: str
    started_at: datetime
    completed_at: datetime
    listings: dict[str, Listing] = field(default_factory=dict)
    skipped: str | None = None

    @property
    def status(self) -> str:
        """`success`, `partial` (an endpoint failed, another did not), `failed`, or `skipped`."""
        if self.skipped:
            return "skipped"
        failed = sum(listing.error is not None for listing in self.listings.values())
        return "success" if not failed else "failed" if failed == len(self.listings) else "partial"

    @property
    def error_message(self) -> str | None:
        """What failed, by endpoint, on one line."""
        failures = {name: listing.error for name, listing in self.listings.items() if listing.error}
        if len(failures) == len(ENDPOINTS) and len(set(failures.values())) == 1:
            return next(iter(failures.values()))
        return self.skipped or "; ".join(f"{name}: {error}" for name, error in failures.items()) or None

    @property
    def trades_synced(self) -> int:
        """Positions and past trades that were read."""
        return sum(len(listing.items) for name, listing in self.listings.items() if name != "info")

    @property
    def duration_ms(self) -> int:
        """From the first request to the last reply."""
        return round((self.completed_at - self.started_at) / timedelta(milliseconds=1))


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
        for batch in _polled(service, accounts, deadline, budget, stop, progress):
            result.rows_changed += _land(run, batch, sync_type)
            result.accounts += batch
        if run.tidies:
            _prune_results(run.connection)
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


def _polled(
    service: AccountService,
    accounts: Mapping[str, datetime | None],
    deadline: float,
    budget: float,
    stop: threading.Event,
    progress: Progress,
) -> Iterator[list[AccountResult]]:
    """Poll batch by batch; what there is no time left for comes at the end, skipped."""
    names = list(accounts)
    out_of_time = f"the budget of {budget:g} s is used up: the account is first in line next time"
    longest = 0.0
    with ThreadPoolExecutor(max_workers=TOGETHER * len(ENDPOINTS)) as pool:
        for start in range(0, len(names), TOGETHER):
            if start:
                stop.wait(PAUSE)
            began = time.monotonic()
            if stop.is_set() or began + longest > deadline:
                reason = STOPPED if stop.is_set() else out_of_time
                now = datetime.now(timezone.utc)
                yield [AccountResult(name, now, now, skipped=reason) for name in names[start:]]
                return
            progress("polling accounts", start, len(names))
            batch = [_Poll(pool, service, name, accounts[name], deadline) for name in names[start : start + TOGETHER]]
            results = [poll.result() for poll in batch]
            if time.monotonic() >= deadline:
                for result in results:  # it may be the time that failed, not the account
                    result.skipped = out_of_time if result.status == "failed" else None
            yield results
            longest = max(longest, time.monotonic() - began)


class _Poll:
    """An account's three endpoints, asked at once."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        service: AccountService,
        account: str,
        history_until: datetime | None,
        deadline: float,
    ) -> None:
        self._account = account
        self._started_at = now = datetime.now(timezone.utc)
        since = now - FIRST_HISTORY if history_until is None else history_until - CLOCKS_APART
        asked: dict[str, Callable[[], Listing]] = {
            "info": lambda: service.info(account, deadline),
            "positions": lambda: service.positions(account, deadline),
            "history": lambda: service.history(account, since, now + CLOCKS_APART, deadline),
        }
        self._replies = {name: pool.submit(_timed, ask) for name, ask in asked.items()}

    def result(self) -> AccountResult:
        """Wait for all three."""
        result = AccountResult(self._account, self._started_at, self._started_at)
        for name, reply in self._replies.items():
            result.listings[name], at = reply.result()
            result.completed_at = max(result.completed_at, at)
        return result


def _timed(ask: Callable[[], Listing]) -> tuple[Listing, datetime]:
    """What an endpoint says, and when it has said it. Whatever goes wrong is this account's trouble alone."""
    try:
        listing = ask()
    except Exception as error:
        log.debug("unexpected", exc_info=True)
        listing = Listing(failure=f"unexpected {type(error).__name__}")
    return listing, datetime.now(timezone.utc)


def _land(run: Run, results: Sequence[AccountResult], sync_type: str) -> int:
    """Land a batch with how its accounts fared, all or nothing; return how many rows were new or different."""
    with landing_rows(run) as batch:
        changed = _land_items(run, batch, [result for result in results if not result.skipped])
        batch.copy(
            "mt5_results",
            RESULTS.columns,
            [
                (
                    run.run_id,
                    each.account_id,
                    sync_type,
                    each.started_at,
                    each.completed_at,
                    each.status,
                    each.trades_synced,
                    each.error_message,
                )
                for each in results
            ],
        )
        batch.upsert(RESULTS, "select * from mt5_results")
    return changed


def _land_items(run: Run, batch: RowBatch, results: Sequence[AccountResult]) -> int:
    """Land what the endpoints said. Positions that a complete list no longer has stay, as not listed."""
    listings = [(each.account_id, kind, listing) for each in results for kind, listing in each.listings.items()]
    batch.copy(
        "mt5_found",
        FOUND,
        [(account, kind, *item) for account, kind, listing in listings for item in listing.items.items()],
    )
    by_kind = {(account, kind): listing for account, kind, listing in listings}
    for account, kind, ticket in batch.take_out_refused("mt5_found", "body", ["account_id", "kind", "ticket"]):
        body = by_kind[account, kind].items.pop(ticket)
        refused = Unusable(ticket, "payload", "Postgres does not take it for JSON", body)
        by_kind[account, kind].unusable.append(refused)
    for kind, table in (("info", INFO), ("positions", POSITIONS), ("history", HISTORY)):
        batch.upsert(
            table,
            f"select {', '.join(table.columns)} from ("
            "select account_id, ticket, body::jsonb as payload, true as is_listed"
            f" from mt5_found where kind = {literal(kind)}) as found",
        )
    complete = [account for account, kind, listing in listings if kind == "positions" and listing.error is None]
    batch.execute(
        f"update staging.mt5_positions as known set is_listed = false, extracted_at = {batch.stamp}"
        f" where known.is_listed and known.account_id = any(array[{', '.join(map(literal, complete))}]::text[])"
        " and not exists (select from mt5_found as found where found.kind = 'positions'"
        " and found.account_id = known.account_id and found.ticket = known.ticket)"
    )
    changed = batch.written
    _record_rejects(run, batch, listings)
    _move_marks(batch, results)
    run.count(
        rows_read=sum(len(listing.items) for _, _, listing in listings),
        rows_changed=changed,
        rows_rejected=sum(len(listing.unusable) for _, _, listing in listings),
    )
    return changed


def _record_rejects(run: Run, batch: RowBatch, listings: Iterable[tuple[str, str, Listing]]) -> None:
    """Write down what cannot land; what a complete answer no longer has, or has as it should be, is resolved."""
    known = open_rejects(run.connection, SOURCE)
    found, gone = [], []
    for account, kind, listing in listings:
        rejects = [
            (account, f"{kind} {item.key}".strip(), item.field, item.reason, item.payload) for item in listing.unusable
        ]
        found += [reject for reject in rejects if reject not in known]
        usable = {f"{kind} {ticket}".strip() for ticket in listing.items}
        gone += [
            reject[:3]
            for reject in known
            if reject[0] == account
            and reject[1].split()[0] == kind
            and reject not in rejects
            and (listing.error is None or reject[1] in usable)
        ]
    batch.record_rejects(found, gone)


def _move_marks(batch: RowBatch, results: Sequence[AccountResult]) -> None:
    """Note the attempt, and how far the history is known: a failed history leaves that where it was."""
    batch.copy(
        "mt5_marks",
        {"account_id": "text", "attempted_at": "timestamptz", "history_until": "timestamptz"},
        [
            (each.account_id, each.started_at, each.started_at if each.listings["history"].error is None else None)
            for each in results
        ],
    )
    batch.execute(
        "insert into staging.mt5_account_marks as known (account_id, attempted_at, history_until)"
        " select account_id, attempted_at, history_until from mt5_marks"
        " on conflict (account_id) do update set attempted_at = excluded.attempted_at,"
        " history_until = coalesce(excluded.history_until, known.history_until)"
    )


def _prune_results(connection: Connection) -> None:
    """Let go of old results, but for the last success of each account, which `trading_accounts` tells."""
    with connection.cursor() as cursor:
        cursor.execute(
            "delete from staging.mt5_sync_results as old"
            " where started_at < clock_timestamp() - make_interval(days => %s)"
            " and run_id is distinct from (select max(run_id) from staging.mt5_sync_results as success"
            " where success.account_id = old.account_id and success.status = 'success')",
            (RETENTION_DAYS,),
        )
