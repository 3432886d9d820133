"""Polling: accounts in batches, their three endpoints in parallel, within a budget of time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from extract.dbt_runner import Progress
from extract.rest import ServiceError
from extract.sources.accounts.client import CLOCKS_APART, AccountClient
from extract.sources.accounts.items import HistoryPart, Listing

log = logging.getLogger("tradehouse")

ENDPOINTS = ("info", "positions", "history")
TOGETHER = 10
"""Accounts that are polled in parallel, one batch."""
PAUSE = 0.1
"""Seconds between one batch and the next."""
FIRST_HISTORY = timedelta(days=30)
"""How far back the first read of an account's history goes."""
STOPPED = "the sync was told to stop"


@dataclass(frozen=True)
class Due:
    """What is due of an account.

    Attributes:
        history_until: when its history was last read to its end; None if never.
        missing_since: since when something is missing in it: a position is gone, or smaller, or the balance moved, and
            no row says how.
        unfinished: the history that the last read did not bring to its end.
    """

    history_until: datetime | None = None
    missing_since: datetime | None = None
    unfinished: HistoryPart | None = None

    def history(self, now: datetime) -> HistoryPart:
        """What to ask of the history now."""
        if self.unfinished:
            return self.unfinished
        earliest = now - FIRST_HISTORY
        since = earliest
        if self.history_until is not None:
            since = self.history_until - CLOCKS_APART
            if self.missing_since is not None:
                since = min(since, max(self.missing_since - CLOCKS_APART, earliest))
        return HistoryPart(since, now + CLOCKS_APART)


@dataclass
class AccountResult:
    """The result of one account in a run.

    Attributes:
        account_id: the account.
        started_at: when its poll began.
        completed_at: when the last reply arrived.
        listings: endpoint -> its reply; empty if the account was skipped.
        skipped: why it was not polled; None if it was.
        not_landed: why none of its data could land; None if it could.
        trades_synced: positions and rows of the history that were new or different.
        rows_read: items of the replies that can land.
        settled: status and error once it has landed; the replies are let go then.
    """

    account_id: str
    started_at: datetime
    completed_at: datetime
    listings: dict[str, Listing] = field(default_factory=dict)
    skipped: str | None = None
    not_landed: str | None = None
    trades_synced: int = 0
    rows_read: int = 0
    settled: tuple[str, str | None] | None = None

    def settle(self) -> None:
        """Keep what a run has to tell of the account, and let its replies go: they may be large."""
        self.rows_read = sum(len(listing.items) for listing in self.listings.values())
        self.settled = self.status, self.error_message
        self.listings = {}

    @property
    def status(self) -> str:
        """`success`, `partial` (something is missing), `failed` (nothing landed), or `skipped`."""
        if self.settled:
            return self.settled[0]
        if self.skipped:
            return "skipped"
        if self.not_landed:
            return "failed"
        if all(listing.error is None for listing in self.listings.values()):
            return "success"
        landed = any(listing.items or listing.error is None for listing in self.listings.values())
        return "partial" if landed else "failed"

    @property
    def is_down(self) -> bool:
        """Whether every endpoint failed in a way that concerns the API as a whole."""
        return all(listing.is_down for listing in self.listings.values())

    @property
    def error_message(self) -> str | None:
        """What failed, by endpoint, on one line."""
        if self.settled:
            return self.settled[1]
        if self.not_landed:
            return f"nothing could land: {self.not_landed}"
        failures = {name: listing.error for name, listing in self.listings.items() if listing.error}
        if len(failures) == len(ENDPOINTS) and len(set(failures.values())) == 1:
            return next(iter(failures.values()))
        return self.skipped or "; ".join(f"{name}: {error}" for name, error in failures.items()) or None

    @property
    def duration_ms(self) -> int:
        """Milliseconds from the first request to the last reply."""
        return round((self.completed_at - self.started_at) / timedelta(milliseconds=1))


def polled(
    client: AccountClient,
    accounts: Mapping[str, Due],
    deadline: float,
    budget: float,
    stop: threading.Event,
    progress: Progress,
    concurrency: int = TOGETHER * len(ENDPOINTS),
    execution: str = "",
) -> Iterator[list[AccountResult]]:
    """Poll batch by batch. Accounts for which no time is left come last, as skipped.

    Args:
        client: asks the API.
        accounts: what is due, in the order of polling.
        deadline: the end of the budget, on the monotonic clock.
        budget: seconds, for the message about accounts that are skipped.
        stop: when set, the rest is skipped.
        progress: called for each batch.
        concurrency: the most requests at once.
        execution: the run's id in the log.

    Raises:
        ServiceError: the API does not answer, or does not accept the key. The batch counts against no account.
    """
    names = list(accounts)
    batches = -(-len(names) // TOGETHER)
    out_of_time = f"the budget of {budget:g} s is used up: the account is first in line next time"
    longest = 0.0
    reached = False
    with ThreadPoolExecutor(max_workers=concurrency) as pool:
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
            batch = [_Poll(pool, client, name, accounts[name], deadline) for name in names[start : start + TOGETHER]]
            results = [poll.result() for poll in batch]
            if all(result.is_down for result in results):
                _require_service(client, results, reached, deadline)
            reached = reached or not all(result.is_down for result in results)
            if time.monotonic() >= deadline:
                for result in results:  # perhaps only the time ran out
                    result.skipped = out_of_time if result.status == "failed" else None
            longest = max(longest, time.monotonic() - began)
            log.info(
                "execution %s: batch %d of %d: %d accounts in %.2f s",
                *(execution, start // TOGETHER + 1, batches, len(results), time.monotonic() - began),
            )
            yield results


def _require_service(client: AccountClient, results: list[AccountResult], reached: bool, deadline: float) -> None:
    """Find out whether it is the API that fails, where it failed for a whole batch of accounts.

    Raises:
        ServiceError: it does not answer, or has accepted the key for no account of this run.
    """
    client.health(deadline)
    if not reached and (rejected := [each for each in results if each.is_down]):
        raise ServiceError(str(rejected[0].listings["info"].failure))


class _Poll:
    """Requests to an account's three endpoints, in parallel."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        client: AccountClient,
        account: str,
        due: Due,
        deadline: float,
    ) -> None:
        self._account = account
        self._started_at = now = datetime.now(timezone.utc)
        part = due.history(now)
        asked: dict[str, Callable[[], Listing]] = {
            "info": lambda: client.info(account, deadline),
            "positions": lambda: client.positions(account, deadline),
            "history": lambda: client.history(account, part, deadline),
        }
        self._replies = {name: pool.submit(_timed, ask) for name, ask in asked.items()}

    def result(self) -> AccountResult:
        """Wait for all three replies."""
        result = AccountResult(self._account, self._started_at, self._started_at)
        for name, reply in self._replies.items():
            result.listings[name], at = reply.result()
            result.completed_at = max(result.completed_at, at)
        return result


def _timed(ask: Callable[[], Listing]) -> tuple[Listing, datetime]:
    """An endpoint's reply and its time. An unexpected error becomes a failure of this account alone."""
    try:
        listing = ask()
    except Exception as error:
        log.debug("unexpected", exc_info=True)
        listing = Listing(failure=f"unexpected {type(error).__name__}")
    return listing, datetime.now(timezone.utc)
