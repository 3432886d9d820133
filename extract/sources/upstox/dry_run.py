"""What a sync would request, and how long the limits make it take; nothing is requested or written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import psycopg2

from extract.sources.upstox.landing import requests_ago
from extract.sources.upstox.limits import Limits
from extract.sources.upstox.plan import UNPACED, Call, Freshness, due_calls
from extract.warehouse import Connection


@dataclass(frozen=True)
class DryRun:
    """A plan.

    Attributes:
        calls: what would be requested.
        requests: how many of these go to the API.
        seconds: from the first of those to the last, if replies took no time.
        is_whole: whether all is known; false if more may follow from the replies.
    """

    calls: list[Call]
    requests: int
    seconds: float
    is_whole: bool


def dry_run(connection: Connection, segments: Sequence[str], masters: Sequence[str], fresh: Freshness) -> DryRun:
    """Plan a sync without one; in a warehouse that has nothing yet, only its beginning is known."""
    try:
        calls = due_calls(connection, datetime.now(timezone.utc), segments, masters, fresh)
        limits = Limits(requests_ago(connection))
    except (psycopg2.errors.UndefinedFunction, psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName):
        calls = [Call(1, "", "master", master) for master in masters] + [Call(1, "", "calendar", "holidays")]
        limits = Limits()
    paced = sum(call.kind not in UNPACED for call in calls)
    is_whole = not any(call.kind in ("master", "expiries", "contracts") for call in calls)
    return DryRun(calls, paced, limits.seconds(paced), is_whole)
