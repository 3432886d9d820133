"""Rejects: values that a source sent and staging cannot hold, with the reason. They are kept in `ops.rejected_rows`.

A reject is open until its value can be used, has left the source, or a person has dismissed it. A dismissed reject
stays closed for as long as the source sends the same value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from extract.quoting import literal
from extract.warehouse import Connection

REJECT_KEY = ("entity", "row_key", "column_name")
REJECT_COLUMNS = (*REJECT_KEY, "reason", "original")
ON_RECORD = "(known.resolved_at is null or known.dismissed_at is not null)"
"""Condition on `ops.rejected_rows as known`: open, or dismissed and not resolved since."""
MOST_KEPT = 1_000
"""The most rejects kept of one listing of an API: a source that sends only rejects must not fill the warehouse."""


@dataclass(frozen=True)
class Reject:
    """An item of a reply that cannot land.

    Attributes:
        key: identifies it within its reply; a digest of the item if it has no id.
        field: the field that is wrong.
        reason: what is wrong with the field.
        payload: the item as JSON.
    """

    key: str
    field: str
    reason: str
    payload: str


@dataclass(frozen=True)
class OpenReject:
    """A row of `ops.rejected_rows` that is not resolved; `extracted_at` is the batch that found it."""

    source: str
    entity: str
    row_key: str
    column_name: str
    reason: str
    original: str | None
    extracted_at: datetime


@dataclass(frozen=True)
class Filter:
    """Selects rejects; None matches any value."""

    source: str | None = None
    entity: str | None = None
    row_key: str | None = None
    column_name: str | None = None

    @property
    def condition(self) -> str:
        """The SQL condition on `ops.rejected_rows` for the open rejects that match."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        return " and ".join(["resolved_at is null", *(f"{name} = {literal(value)}" for name, value in given.items())])


def digest(payload: str) -> str:
    """A key for an item that has none of its own."""
    return "sha256:" + hashlib.sha256(payload.encode()).hexdigest()


def count_open(connection: Connection, which: Filter) -> dict[str, int]:
    """How many open rejects match, by source."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"select source, count(*) from ops.rejected_rows where {which.condition} group by source order by source"
        )
        return dict(cursor.fetchall())


def newest_open(connection: Connection, which: Filter, limit: int) -> list[OpenReject]:
    """The open rejects that match, newest first; at most `limit`."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select source, entity, row_key, column_name, reason, original, extracted_at from ops.rejected_rows"
            f" where {which.condition} order by extracted_at desc, source, entity, row_key, column_name limit {limit}"
        )
        return [OpenReject(*row) for row in cursor.fetchall()]


def dismissed(
    connection: Connection, source: str, entity: str, row_keys: Sequence[str]
) -> list[tuple[str, str, str, str | None]]:
    """Row key, column, reason and original of the dismissed rejects among some rows of an entity."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select row_key, column_name, reason, original from ops.rejected_rows"
            " where source = %s and entity = %s and row_key = any(%s) and dismissed_at is not null",
            (source, entity, row_keys),
        )
        return cursor.fetchall()


def dismiss(connection: Connection, which: Filter) -> int:
    """Close the open rejects that match, until the source sends another value; return how many they were."""
    with connection.cursor() as cursor:
        cursor.execute(
            "update ops.rejected_rows set resolved_at = clock_timestamp(), dismissed_at = clock_timestamp()"
            f" where {which.condition}"
        )
        return cursor.rowcount
