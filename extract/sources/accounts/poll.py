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
from extract.sources.accounts.client import CLOCKS_APART, AccountClient, Listing

log = logging.getLogger("tradehouse")

ENDPOINTS = ("info", "positions", "history")
TOGETHER = 10
"""Accounts that are polled in parallel, one batch."""
PAUSE = 0.1
"""Seconds between one batch and the next."""
FIRST_HISTORY = timedelta(days=30)
"""How far back the first read of an account's history goes."""
STOPPED = "the sync was told to stop"


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
    """

    account_id: str
    started_at: datetime
    completed_at: datetime
    listings: dict[str, Listing] = field(default_factory=dict)
    skipped: str | None = None
    not_landed: str | None = None

    @property
    def status(self) -> str:
        """`success`, `partial` (some endpoints failed), `failed`, or `skipped`."""
        if self.skipped:
            return "skipped"
        if self.not_landed:
            return "failed"
        failed = sum(listing.error is not None for listing in self.listings.values())
        return "success" if not failed else "failed" if failed == len(self.listings) else "partial"

    @property
    def error_message(self) -> str | None:
        """What failed, by endpoint, on one line."""
        if self.not_landed:
            return f"nothing could land: {self.not_landed}"
        failures = {name: listing.error for name, listing in self.listings.items() if listing.error}
        if len(failures) == len(ENDPOINTS) and len(set(failures.values())) == 1:
            return next(iter(failures.values()))
        return self.skipped or "; ".join(f"{name}: {error}" for name, error in failures.items()) or None

    @property
    def trades_synced(self) -> int:
        """Positions and past trades that were read and could land."""
        if self.not_landed:
            return 0
        return sum(len(listing.items) for name, listing in self.listings.items() if name != "info")

    @property
    def duration_ms(self) -> int:
        """Milliseconds from the first request to the last reply."""
        return round((self.completed_at - self.started_at) / timedelta(milliseconds=1))


def polled(
    client: AccountClient,
    accounts: Mapping[str, datetime | None],
    deadline: float,
    budget: float,
    stop: threading.Event,
    progress: Progress,
) -> Iterator[list[AccountResult]]:
    """Poll batch by batch. Accounts for which no time is left come last, as skipped."""
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
            batch = [_Poll(pool, client, name, accounts[name], deadline) for name in names[start : start + TOGETHER]]
            results = [poll.result() for poll in batch]
            if time.monotonic() >= deadline:
                for result in results:  # perhaps only the time ran out
                    result.skipped = out_of_time if result.status == "failed" else None
            yield results
            longest = max(longest, time.monotonic() - began)


class _Poll:
    """Requests to an account's three endpoints, in parallel."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        client: AccountClient,
        account: str,
        history_until: datetime | None,
        deadline: float,
    ) -> None:
        self._account = account
        self._started_at = now = datetime.now(timezone.utc)
        since = now - FIRST_HISTORY if history_until is None else history_until - CLOCKS_APART
        asked: dict[str, Callable[[], Listing]] = {
            "info": lambda: client.info(account, deadline),
            "positions": lambda: client.positions(account, deadline),
            "history": lambda: client.history(account, since, now + CLOCKS_APART, deadline),
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
