"""What a stage hands to the next: which series to compute, and how far each was computed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

INSTRUMENT_TYPES = ("EQUITY", "INDEX", "FUTURES", "CE", "PE")
KEY = {"instrument_id": "bigint", "timeframe": "text", "timestamp": "timestamptz"}
"""Postgres types of the key of `market.candle_data` and `market.indicator_data`."""


@dataclass(frozen=True)
class Series:
    """A series whose candles have changed. All moments are in microseconds since 1970 (UTC).

    Attributes:
        timeframe: one of the list `market_timeframes`.
        changed_from: the session day (IST) of the oldest candle that changed begins here; None: compute all of it.
        candles_until: the newest stamp of its candles when the change was found.
        first_bar: its oldest bar when it was last computed; None if it never was.
        candles: how many of its candles have changed.
    """

    instrument_id: int
    timeframe: str
    changed_from: int | None
    candles_until: int
    first_bar: int | None
    candles: int

    def as_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)


@dataclass(frozen=True)
class Mark:
    """How far a series was computed, as it lands in `staging.indicator_marks`; moments as in `Series`."""

    instrument_id: int
    timeframe: str
    candles_until: int
    first_bar: int | None
