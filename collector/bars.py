"""One simulated chart: a random walk with the indicator columns the collector writes beside each bar.

The JSON is in the dialect of `collector/mql5`, put together as text, which is several times faster than `json.dumps`.
It has one defect that other collectors have: `collector_list`.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import exp, sqrt
from typing import NamedTuple

BAR_SECONDS = 300
"""Length of an M5 bar, the only timeframe the collector writes."""

EMPTY_VALUE = 1.7976931348623157e308
"""MetaTrader's EMPTY_VALUE (DBL_MAX): the indicator has no value for this bar."""

WARM_UP_BARS = {"tema": 42, "hrma": 20, "smma": 14}
"""Bars at the start of a chart for which each moving average is EMPTY_VALUE."""

EMPTY_LIST_RATE = 0.05
"""Share of rows on which the collector finds nothing on one side of fractals or of zigzag."""

MOMENTUM_FROM, STRONG_MOMENTUM_FROM = 2.0, 3.0
"""Standard deviations a bar moves to be a momentum candle, of type 1 (up) or 4 (down), and a strong one, 2 or 5."""

LINES = 3
"""Trendlines of each kind."""

KELTNER_MULTIPLES = {
    "ultra_extreme_upper": 5.0,
    "extreme_upper": 4.0,
    "upper_most": 3.0,
    "upper_middle": 2.0,
    "upper": 1.0,
    "lower": -1.0,
    "lower_middle": -2.0,
    "lower_most": -3.0,
    "extreme_lower": -4.0,
    "ultra_extreme_lower": -5.0,
}
"""The ten Keltner bands, from the top down, as multiples of the average range around the middle line."""


@dataclass(frozen=True)
class Market:
    """What makes one symbol's prices plausible.

    Attributes:
        price: level the walk starts from, in the quote currency.
        digits: decimals the broker quotes.
        volatility: standard deviation of one M5 bar's log return.
    """

    price: float
    digits: int
    volatility: float = 0.0003


MARKETS = {
    "AUDJPY": Market(98.5, 3, 0.0004),
    "AUDUSD": Market(0.6520, 5, 0.0004),
    "BTCUSD": Market(67500.0, 2, 0.0012),
    "ETHUSD": Market(3450.0, 2, 0.0015),
    "EURUSD": Market(1.0850, 5),
    "GBPJPY": Market(194.2, 3, 0.0004),
    "GBPUSD": Market(1.2710, 5),
    "NDX100": Market(20400.0, 2, 0.0006),
    "NZDUSD": Market(0.5980, 5, 0.0004),
    "US30": Market(41800.0, 2, 0.0005),
    "USDCAD": Market(1.3720, 5, 0.0002),
    "USDCHF": Market(0.8840, 5),
    "USDJPY": Market(151.3, 3),
    "XAGUSD": Market(30.4, 3, 0.0009),
    "XAUUSD": Market(2640.0, 2, 0.0005),
}
"""Price levels of late 2024. Not a list of what exists: a symbol that is not here gets `OTHER_MARKET`."""

OTHER_MARKET = Market(100.0, 3)


class Bar(NamedTuple):
    """One row of a symbol's table, in the column order of `sql/sqlite_schema.sql`."""

    timestamp: int
    open: float
    high: float
    low: float
    close: float
    fractals: str
    horizontal_trendlines: str
    diagonal_trendlines: str
    momentum_candles: str
    keltner_channels: str | None
    tema: float
    hrma: float
    smma: float
    zigzag: str


def collector_list(name: str, items: Iterable[str]) -> str:
    """Return `"name":[…]`; an empty list loses its opening bracket, as with some collectors."""
    joined = ",".join(items)
    return f'"{name}":[{joined}]' if joined else f'"{name}":]'


def two_sides(upper: str, over: Iterable[str], lower: str, under: Iterable[str]) -> str:
    """Return the JSON object of an indicator that has one list above the price and one below."""
    return f"{{{collector_list(upper, over)},{collector_list(lower, under)}}}"


def _numbered(*sides: tuple[str, Sequence[str]]) -> str:
    """Return the JSON object of `LINES` lists a side, the newest line first; only the first list has the defect."""
    lists = []
    for name, lines in sides:
        lists.append(collector_list(f"{name}_1", list(lines)[:1]))
        lists += [f'"{name}_{place + 1}":[{",".join(list(lines)[place : place + 1])}]' for place in range(1, LINES)]
    return f"{{{','.join(lists)}}}"


@dataclass
class MovingAverages:
    """Exponential averages (alpha = 2 / (n + 1)) and Wilder's smoothed one (1 / n), in price units."""

    first: float
    second: float
    third: float
    fast: float
    slow: float
    smoothed: float
    middle: float

    def add(self, close: float) -> None:
        """Take in one more close."""
        self.first += (close - self.first) * (2 / 15)
        self.second += (self.first - self.second) * (2 / 15)
        self.third += (self.second - self.third) * (2 / 15)
        self.fast += (close - self.fast) * (2 / 11)
        self.slow += (close - self.slow) * (2 / 21)
        self.smoothed += (close - self.smoothed) / 14
        self.middle += (close - self.middle) * (2 / 21)

    @property
    def tema(self) -> float:
        """Triple exponential average of 14 bars."""
        return 3 * self.first - 3 * self.second + self.third

    @property
    def hrma(self) -> float:
        """Hull-like average: twice the 10-bar average minus the 20-bar one."""
        return 2 * self.fast - self.slow


class Pivots:
    """The latest turning points above and below the price, the lines through them, and their JSON."""

    def __init__(self, price_format: str) -> None:
        self._item = f'{{"time":%d,"price":{price_format}}}'
        self.peaks: deque[str] = deque(maxlen=2)
        self.bottoms: deque[str] = deque(maxlen=2)
        self._latest: dict[bool, tuple[int, float]] = {}
        self._levels: dict[bool, deque[str]] = {side: deque(maxlen=LINES) for side in (True, False)}
        self._lines: dict[bool, deque[str]] = {side: deque(maxlen=LINES) for side in (True, False)}
        self._describe()

    def add(self, is_peak: bool, price: float, time: int) -> None:
        """Remember a turning point: its price, and the bar's open in Unix seconds."""
        point = self._item % (time, price)
        (self.peaks if is_peak else self.bottoms).append(point)
        self._levels[is_peak].appendleft(point)
        previous = self._latest.get(is_peak)
        # Falling peaks make a descending line, rising bottoms an ascending one; otherwise the old lines stay.
        if previous is not None and (price < previous[1] if is_peak else price > previous[1]):
            self._lines[is_peak].appendleft(f"{self._item % previous},{point}")
        self._latest[is_peak] = (time, price)
        self._describe()

    def _describe(self) -> None:
        """Text is made when a point is added, not for each bar: most bars have no new turning point."""
        self.text = two_sides("peaks", self.peaks, "bottoms", self.bottoms)
        self.horizontal = _numbered(("peak", self._levels[True]), ("bottom", self._levels[False]))
        self.diagonal = _numbered(("ascending", self._lines[False]), ("descending", self._lines[True]))

    def without(self, peaks: bool) -> str:
        """Return the text with one side empty."""
        return two_sides("peaks", () if peaks else self.peaks, "bottoms", self.bottoms if peaks else ())


class Chart:
    """State of one symbol's chart between bars; `bars` walks it forward."""

    def __init__(self, market: Market, rng: random.Random) -> None:
        self._market = market
        self._rng = rng
        self._close = market.price
        self._count = 0
        self._range = market.price * market.volatility
        self._averages = MovingAverages(*([market.price] * 7))
        price_format = f"%.{market.digits}f"
        self._fractals = Pivots(price_format)
        self._zigzag = Pivots(price_format)
        self._recent: deque[tuple[int, float, float]] = deque(maxlen=5)
        self._momentum: deque[str] = deque(maxlen=2)
        self._momentum_text = "[]"
        self._rising = True
        self._extreme = (market.price, 0)
        self._keltner_format = "{" + ",".join(f'"{name}":{price_format}' for name in KELTNER_MULTIPLES) + "}"
        self._multiples = tuple(KELTNER_MULTIPLES.values())

    def bars(self, opens: Iterable[int], end: int) -> Iterator[Bar]:
        """Yield one bar per open time; a bar that contains `end` has only moved for the seconds elapsed.

        Args:
            opens: bar opens in Unix seconds, ascending, none later than `end`.
            end: the moment the collector is imagined to write, in Unix seconds.
        """
        for time in opens:
            yield self._bar(time, min(end - time, BAR_SECONDS) / BAR_SECONDS)

    def _bar(self, time: int, elapsed: float) -> Bar:
        open_, high, low, close, deviations = self._walk(elapsed)
        self._range += (high - low - self._range) / 14
        self._averages.add(close)
        self._update_fractals(time, high, low)
        self._update_zigzag(time, high, low)
        if abs(deviations) > MOMENTUM_FROM:
            self._add_momentum(time, deviations)
        number, averages = self._count, self._averages
        fractals, zigzag = self._two_sided_texts()
        keltner = self._keltner()
        self._count += 1
        return Bar(
            time, open_, high, low, close,
            fractals, self._fractals.horizontal, self._zigzag.diagonal, self._momentum_text, keltner,
            averages.tema if number >= WARM_UP_BARS["tema"] else EMPTY_VALUE,
            averages.hrma if number >= WARM_UP_BARS["hrma"] else EMPTY_VALUE,
            averages.smoothed if number >= WARM_UP_BARS["smma"] else EMPTY_VALUE,
            zigzag,
        )  # fmt: skip

    def _walk(self, elapsed: float) -> tuple[float, float, float, float, float]:
        """Return open, high, low, close in the broker's digits, and the move in standard deviations."""
        rng, digits, open_ = self._rng, self._market.digits, self._close
        deviations = rng.gauss(0.0, 1.0)
        scale = self._market.volatility * sqrt(elapsed)
        close = round(open_ * exp(scale * deviations), digits)
        reach = open_ * scale * 0.7
        # Rounding is monotonic, so high and low enclose open and close after it too.
        high = round(max(open_, close) + reach * rng.random(), digits)
        low = round(min(open_, close) - reach * rng.random(), digits)
        self._close = close
        return open_, high, low, close, deviations

    def _update_fractals(self, time: int, high: float, low: float) -> None:
        """Bill Williams' rule: the middle of five bars is above (below) the other four."""
        recent = self._recent
        recent.append((time, high, low))
        if len(recent) < 5:
            return
        (_, h0, l0), (_, h1, l1), (middle, h2, l2), (_, h3, l3), (_, h4, l4) = recent
        if h2 > h0 and h2 > h1 and h2 > h3 and h2 > h4:
            self._fractals.add(True, h2, middle)
        if l2 < l0 and l2 < l1 and l2 < l3 and l2 < l4:
            self._fractals.add(False, l2, middle)

    def _update_zigzag(self, time: int, high: float, low: float) -> None:
        """A swing ends when the price comes back from its extreme by four average ranges."""
        price, since = self._extreme
        if high >= price if self._rising else low <= price:
            self._extreme = (high if self._rising else low, time)
        elif abs(price - (low if self._rising else high)) > 4 * self._range:
            # The very first extreme is the starting level, which no bar has shown.
            if since:
                self._zigzag.add(self._rising, price, since)
            self._rising = not self._rising
            self._extreme = (high if self._rising else low, time)

    def _add_momentum(self, time: int, deviations: float) -> None:
        strong = abs(deviations) > STRONG_MOMENTUM_FROM
        kind = (2 if strong else 1) if deviations > 0 else (5 if strong else 4)
        self._momentum.append(f'{{"time":{time},"type":{kind},"zscore":{deviations:.4f}}}')
        self._momentum_text = f"[{','.join(self._momentum)}]"

    def _keltner(self) -> str | None:
        """Return the bands, NULL until the middle line has its 20 bars."""
        if self._count < 20:
            return None
        middle, width = self._averages.middle, self._range
        return self._keltner_format % tuple([middle + multiple * width for multiple in self._multiples])

    def _two_sided_texts(self) -> tuple[str, str]:
        """Return fractals and zigzag; at `EMPTY_LIST_RATE` one side of one of them is empty."""
        draw = self._rng.random() / EMPTY_LIST_RATE
        if draw >= 1.0:
            return self._fractals.text, self._zigzag.text
        peaks = draw * 2 % 1.0 < 0.5
        if draw < 0.5:
            return self._fractals.without(peaks), self._zigzag.text
        return self._fractals.text, self._zigzag.without(peaks)
