"""What the warehouse has of Upstox's segments: computed from its tables each time, never from a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

import psycopg2

from extract.errors import WarehouseError
from extract.warehouse import Connection


@dataclass(frozen=True)
class Part:
    """What there is of a segment, or of one underlying and expiry in it.

    Attributes:
        instruments: how many belong to it today; of fo_expired, those whose list was read.
        without_candles: how many of these have no candle at all.
        days, minutes: candles of a day and of a minute.
        gaps: session days without a minute that are still asked for.
        settled_gaps: those of which Upstox has said that it has none.
    """

    segment: str
    underlying: str | None
    expiry_date: date | None
    instruments: int
    without_candles: int
    days: int
    minutes: int
    newest_candle: datetime | None
    gaps: int
    settled_gaps: int


@dataclass(frozen=True)
class UpstoxStatus:
    """All parts, when each segment was last read in full, and how many rejects are open."""

    parts: list[Part]
    completed: dict[str, datetime | None]
    rejects: int
    linked: int

    def as_dict(self) -> dict[str, Any]:
        """The status as `--json` prints it."""
        return {
            "segments": [
                {
                    "segment": segment,
                    "completed_at": at,
                    "parts": [asdict(part) for part in self.parts if part.segment == segment],
                }
                for segment, at in self.completed.items()
            ],
            "rejects": self.rejects,
            "linked_keys": self.linked,
        }


def read_status(connection: Connection, segments: Sequence[str]) -> UpstoxStatus:
    """Read the status.

    Raises:
        WarehouseError: nothing was built yet.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "select * from market.upstox_status(%s, (now() at time zone 'Asia/Kolkata')::date)", (list(segments),)
            )
            parts = [Part(*row) for row in cursor.fetchall()]
            cursor.execute("select segment, completed_at from market.upstox_segments")
            completed = dict(cursor.fetchall())
            cursor.execute(
                "select (select count(*) from ops.rejected_instruments),"
                " (select count(*) from market.instrument_keys where linked_from is not null)"
            )
            row = cursor.fetchone()
    except (psycopg2.errors.UndefinedFunction, psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName):
        raise WarehouseError("nothing of Upstox was read yet: run tradehouse upstox sync first") from None
    assert row is not None
    return UpstoxStatus(parts, {segment: completed.get(segment) for segment in segments}, *row)
