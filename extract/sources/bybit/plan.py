"""Plans which spans of time to read, by week, given how far each week has been read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from extract.sources.bybit.client import EPOCH, HISTORY, LONGEST_SPAN, RejectedRequestError

HISTORY_MARGIN = timedelta(minutes=5)
"""Bybit rejects times before its history, and time passes between our clock and its reply."""


@dataclass(frozen=True)
class Window:
    """A span of one category to read, within the week that begins at `start`."""

    category: str
    start: datetime
    since: datetime
    until: datetime


def backfill_windows(
    category: str, read_until: Mapping[datetime, datetime], since: datetime, now: datetime
) -> list[Window]:
    """The weeks from `since` to `now` that have not been read to their end, oldest first.

    Args:
        category: the category.
        read_until: start of a week -> how far it has been read.
        since: read from the start of its week, but not further back than Bybit keeps executions.
        now: the end of the last week.
    """
    return [
        window
        for window in _weeks(category, _week(since), now)
        if read_until.get(window.start, EPOCH) < window.start + LONGEST_SPAN
    ]


def sync_windows(
    category: str, read_until: Mapping[datetime, datetime], now: datetime, overlap: timedelta
) -> list[Window]:
    """Weeks that a backfill has not finished, then the time from the newest read moment, less `overlap`, to `now`.

    Raises:
        RejectedRequestError: nothing has been read yet, so there is no start to continue from.
    """
    if not read_until:
        raise RejectedRequestError("nothing has been read yet: run tradehouse bybit backfill first")
    newest = _weeks(category, max(read_until.values()) - overlap, now)
    missing = backfill_windows(category, read_until, min(read_until), now)
    return [window for window in missing if newest and window.start < newest[0].start] + newest


def _weeks(category: str, since: datetime, now: datetime) -> list[Window]:
    """The span from `since` to `now`, cut by week; it begins no earlier than Bybit's history."""
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
