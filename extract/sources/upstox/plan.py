"""Which requests are due: read from the warehouse, where SQL decides (`market.upstox_calls`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from extract.sources.upstox.settings import UpstoxSettings
from extract.warehouse import Connection

SEGMENTS = ("indices_nse", "indices_bse", "equity", "fo_current", "fo_historical", "fo_expired")
"""The parts a sync consists of, in the order in which they are read."""
UNPACED = ("master",)
"""Kinds of requests that do not go to the API and do not count against its limits."""


@dataclass(frozen=True)
class Call:
    """One request.

    Attributes:
        stage: a later stage may depend on the replies of an earlier one.
        segment: the segment that needs it; empty for what all need.
        kind: master, calendar, history, intraday, expiries, contracts or expired.
        subject: what it is about, for people.
    """

    stage: int
    segment: str
    kind: str
    subject: str
    instrument_id: int | None = None
    instrument_key: str | None = None
    timeframe: str | None = None
    window_start: date | None = None
    window_end: date | None = None

    @property
    def description(self) -> str:
        """The request in one line."""
        window = ""
        if self.window_start is not None:
            ends = dict.fromkeys((str(self.window_start), str(self.window_end)))
            window = " " + " to ".join(ends)
        return f"{self.kind} {self.subject}{f' {self.timeframe}' if self.timeframe else ''}{window}"


@dataclass(frozen=True)
class Freshness:
    """For how long what was read in full need not be read again: hours, and days of the slow segments."""

    hours: float
    days: float


def freshness(settings: UpstoxSettings, force: bool) -> Freshness:
    """For how long what was read need not be read again; `force`: not at all."""
    return Freshness(0.0, 0.0) if force else Freshness(settings.upstox_fresh_hours, settings.upstox_fresh_days)


def due_calls(
    connection: Connection, moment: datetime, segments: Sequence[str], masters: Sequence[str], fresh: Freshness
) -> list[Call]:
    """The requests that are due, first stage first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select stage, segment, kind, subject, instrument_id, instrument_key, timeframe, window_start, window_end"
            " from market.upstox_calls(%s, %s, %s, make_interval(secs => %s), make_interval(secs => %s))",
            (moment, list(segments), list(masters), fresh.hours * 3600, fresh.days * 86_400),
        )
        return [Call(*row) for row in cursor.fetchall()]


def due_segments(connection: Connection, moment: datetime, segments: Sequence[str], fresh: Freshness) -> list[str]:
    """The segments that were not read in full lately, in the order given."""
    with connection.cursor() as cursor:
        cursor.execute("select part, completed_at from staging.upstox_parts where part like 'segment %'")
        completed = {part.removeprefix("segment "): at for part, at in cursor.fetchall()}
    seconds = {segment: fresh.days * 86_400 if is_slow(segment) else fresh.hours * 3600 for segment in segments}
    return [
        segment
        for segment in segments
        if segment not in completed or (moment - completed[segment]).total_seconds() >= seconds[segment]
    ]


def is_slow(segment: str) -> bool:
    """Whether a segment's freshness counts in days."""
    return segment in ("fo_historical", "fo_expired")
