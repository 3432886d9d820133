"""Candles of a reply: typed, or rejected with the reason."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Any

from extract.rejects import MOST_KEPT, Reject, digest

IST = timezone(timedelta(hours=5, minutes=30))
"""India has no daylight saving."""
LARGEST = 1e15


@dataclass
class Candles:
    """The candles of a window, column by column, oldest first."""

    timestamps: list[datetime] = field(default_factory=list)
    open: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    close: list[float] = field(default_factory=list)
    volume: list[int] = field(default_factory=list)
    oi: list[int | None] = field(default_factory=list)
    days: list[date] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)

    def columns(self) -> Mapping[str, list[Any]]:
        """The columns as the landing table names them."""
        return {
            "timestamps": self.timestamps,
            "open": self.open,
            "high": self.high,
            "low": self.low,
            "close": self.close,
            "volume": self.volume,
            "oi": self.oi,
            "days": self.days,
        }


def typed(items: Iterable[Any], since: date, until: date) -> Candles:
    """Type the candles of a reply. Those of other days are left out; of two of one time the first counts.

    Args:
        items: `[time, open, high, low, close, volume, oi]` each, prices in rupees.
        since: first day (IST) asked for.
        until: last day asked for.
    """
    found: dict[datetime, tuple[Any, ...]] = {}
    rejects = []
    for item in items:
        moment = _moment(item)
        fault = "no array with a time and its zone" if moment is None else _fault(item)
        if fault:
            payload = json.dumps(item)
            key = digest(payload) if moment is None else moment.isoformat()
            rejects.append(Reject(key, "candle", fault, payload))
        elif moment is not None and since <= moment.date() <= until:
            found.setdefault(moment, tuple(item[1:7]))
    candles = Candles(rejects=rejects[:MOST_KEPT])
    for moment in sorted(found):
        first, high, low, close, volume, *oi = found[moment]
        candles.timestamps.append(moment)
        candles.open.append(float(first))
        candles.high.append(float(high))
        candles.low.append(float(low))
        candles.close.append(float(close))
        candles.volume.append(int(volume))
        candles.oi.append(int(oi[0]) if oi and oi[0] is not None else None)
        if not candles.days or candles.days[-1] != moment.date():
            candles.days.append(moment.date())
    return candles


def _moment(item: Any) -> datetime | None:
    """When the candle opens, in IST; None if its first field is no time with its zone."""
    if not isinstance(item, list) or not item or not isinstance(item[0], str):
        return None
    try:
        moment = datetime.fromisoformat(item[0])
        return moment.astimezone(IST) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _fault(item: list[Any]) -> str | None:
    """Why a candle cannot be used; None if it can."""
    if len(item) < 6:
        return "fewer than six fields"
    prices = item[1:5]
    if not all(_is_number(price) and price > 0 for price in prices):
        return "a price is no positive number"
    first, high, low, close = prices
    if high < max(first, close, low) or low > min(first, close):
        return "a price lies outside high and low"
    if not (_is_number(item[5]) and item[5] >= 0):
        return "the volume is no number"
    if len(item) > 6 and item[6] is not None and not (_is_number(item[6]) and item[6] >= 0):
        return "the open interest is no number"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value < LARGEST and math.isfinite(value)
