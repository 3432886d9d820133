"""Trends, strengths and scores of a symbol in plain Python, from its candle tables as psycopg2 reads them.

It shares no code with the warehouse's functions: it keeps the rows in memory, and counts in fractions.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeGuard

import psycopg2.extensions

TIMEFRAMES = ("M5", "M15", "M30", "H1", "H2", "H4", "H8", "H12", "D1")
COLUMNS = (
    *("open", "high", "low", "close", "fractals", "horizontal_trendlines", "diagonal_trendlines"),
    *("momentum_candles", "keltner_channels", "tema", "hrma", "smma", "zigzag"),
)
UP = {"bullish", "up", "buy", "strong_bullish", "bullish_strong", "strong_up", "strong_buy"}
DOWN = {"bearish", "down", "sell", "strong_bearish", "bearish_strong", "strong_down", "strong_sell"}

Signals = dict[str, tuple[str, Fraction]]
"""Signal -> direction and weight."""


@dataclass(frozen=True)
class Dialect:
    """How points without a time are in order."""

    index_from_newest: bool = False
    newest_first: bool = False


@dataclass(frozen=True)
class Verdict:
    """Of one timeframe: strength is 0 to 1."""

    trend: str
    strength: Fraction
    signals: Signals


class Tables:
    """The nine candle tables of a symbol, read once.

    Args:
        connection: to the warehouse; it is left without an open transaction.
        symbol: in lower case.
        dialect: the collector's.
    """

    def __init__(self, connection: psycopg2.extensions.connection, symbol: str, dialect: Dialect) -> None:
        self._dialect = dialect
        self._rows: dict[str, tuple[list[datetime], list[dict[str, Any]]]] = {}
        with connection, connection.cursor() as cursor:
            for timeframe in TIMEFRAMES:
                cursor.execute(
                    f"select timestamp, {', '.join(COLUMNS)} from public.{symbol}_{timeframe.lower()} order by 1"
                )
                found = cursor.fetchall()
                self._rows[timeframe] = (
                    [row[0].astimezone(timezone.utc) for row in found],
                    [dict(zip(COLUMNS, row[1:], strict=True)) for row in found],
                )

    def newest(self, at: datetime) -> dict[str, dict[str, Any]]:
        """Timeframe -> values of its newest row at or before an instant; timeframes without one are left out."""
        places = {timeframe: bisect_right(times, at) for timeframe, (times, _) in self._rows.items()}
        return {timeframe: self._rows[timeframe][1][place - 1] for timeframe, place in places.items() if place}

    def verdicts(self, at: datetime) -> dict[str, Verdict]:
        """Timeframe -> what its newest row says."""
        return {timeframe: verdict(row, self._dialect) for timeframe, row in self.newest(at).items()}


def score(verdicts: dict[str, Verdict]) -> Decimal:
    """0 to 10, rounded half up to one decimal."""
    trends = [each.trend for each in verdicts.values()]
    apart = abs(trends.count("bullish") - trends.count("bearish"))
    exact = (apart + sum((each.strength for each in verdicts.values()), Fraction())) * Fraction(5, 9)
    return Decimal((exact * 10 + Fraction(1, 2)).__floor__()) / 10


def verdict(row: dict[str, Any], dialect: Dialect) -> Verdict:
    """What one row says."""
    signals: Signals = {}
    for average in ("tema", "hrma", "smma"):
        if row[average] is not None:
            signals[average] = ("bullish" if row["close"] > row[average] else "bearish", Fraction(15, 100))
    for name, found, neutral in (
        ("momentum_candles", _momentum(row["momentum_candles"], dialect), Fraction()),
        ("keltner_channels", _keltner(row["close"], row["keltner_channels"]), Fraction(5, 100)),
        ("zigzag", _zigzag(row["zigzag"], dialect), Fraction(10, 100)),
    ):
        if found:
            full = Fraction(15 if name == "keltner_channels" else 20, 100)
            signals[name] = (found, neutral if found == "neutral" else full)
    total = {
        direction: sum((weight for way, weight in signals.values() if way == direction), Fraction())
        for direction in ("bullish", "bearish", "neutral")
    }
    trend = "neutral"
    for direction, other in (("bullish", "bearish"), ("bearish", "bullish")):
        if total[direction] - total[other] > Fraction(1, 10) and total[direction] > total["neutral"]:
            trend = direction
    if not signals:
        return Verdict(trend, Fraction(), signals)
    strength = Fraction(3, 10) if trend == "neutral" else total[trend] / sum(total.values())
    return Verdict(trend, strength, signals)


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _newest_first(points: Any, dialect: Dialect) -> list[dict[str, Any]]:
    """Points as objects with the keys they have, `time` and `index` only where they are usable."""
    if not isinstance(points, list):
        return []
    read = []
    for position, point in enumerate(points):
        if isinstance(point, list):
            values = dict(zip(("time", "price"), point, strict=False))
            values["index"] = values.get("time")
        elif isinstance(point, dict):
            values = dict(point)
        else:
            continue
        time, index = values.get("time"), values.get("index")
        if not _is_number(time) or not 100_000_000 <= time <= 4_102_444_800:
            time = None
        if not _is_number(index) or abs(index) >= 100_000_000:
            index = None
        order = (
            (1, 0) if time is None else (0, -int(time)),
            (1, 0) if index is None else (0, index if dialect.index_from_newest else -index),
            position if dialect.newest_first else -position,
        )
        read.append((order, {**values, "time": time, "index": index}))
    return [values for _, values in sorted(read, key=lambda each: each[0])]


def _momentum(points: Any, dialect: Dialect) -> str | None:
    balance = 0
    for point in _newest_first(points, dialect)[:5]:
        kind = point.get("type")
        word = kind.lower().replace(" ", "_").replace("-", "_") if isinstance(kind, str) else None
        number = kind if _is_number(kind) else None
        if word in UP or number in (1, 2):
            balance += 1
        elif word in DOWN or number in (4, 5):
            balance -= 1
    return {True: "bullish", False: "bearish"}[balance > 0] if balance else None


def _keltner(close: float, channels: Any) -> str | None:
    bands = []
    for name in ("upper_middle", "lower_middle"):
        band = channels.get(name) if isinstance(channels, dict) else None
        if isinstance(band, list):
            band = band[0] if band else None
        bands.append(band if _is_number(band) and band != 0 else None)
    upper, lower = bands
    if upper is not None and close > upper:
        return "bullish"
    if lower is not None and close < lower:
        return "bearish"
    return None if upper is None or lower is None else "neutral"


def _zigzag(zigzag: Any, dialect: Dialect) -> str | None:
    newest = []
    for side in ("peaks", "bottoms"):
        points = _newest_first(zigzag.get(side) if isinstance(zigzag, dict) else None, dialect)
        prices = [point["price"] for point in points if _is_number(point.get("price")) and point["price"] != 0]
        if len(prices) < 2:
            return None
        newest.append(prices[:2])
    if all(last > before for last, before in newest):
        return "bullish"
    if all(last < before for last, before in newest):
        return "bearish"
    return "neutral"
