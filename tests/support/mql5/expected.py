"""What the file must hold, worked out in Python from the market that the stand-in terminal had."""

from __future__ import annotations

import json
import math
import sqlite3
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WINDOW = 500
LISTED = 10
SCORED = 432
COUNTS = {"fractals": 10, "diagonals": 6, "momentum": 7, "keltner": 10, "averages": 4, "zigzag": 2}
BANDS = (
    *("ultra_extreme_upper", "extreme_upper", "upper_most", "upper_middle", "upper"),
    *("lower", "lower_middle", "lower_most", "extreme_lower", "ultra_extreme_lower"),
)
JSON_COLUMNS = (
    *("fractals", "horizontal_trendlines", "diagonal_trendlines", "momentum_candles", "keltner_channels", "zigzag"),
)
COLUMNS_OF = {
    "fractals": ("fractals", "horizontal_trendlines"),
    "diagonals": ("diagonal_trendlines",),
    "momentum": ("momentum_candles",),
    "keltner": ("keltner_channels",),
    "averages": ("tema", "hrma", "smma"),
    "zigzag": ("zigzag",),
}
"""The columns that come from each indicator."""

Row = dict[str, Any]


@dataclass(frozen=True)
class MarketBar:
    """One bar of the market: its open in UTC and in server time, its prices, and every buffer by indicator."""

    utc: int
    server: int
    open: float
    high: float
    low: float
    close: float
    buffers: dict[str, tuple[float, ...]]


def markets(dump: Path) -> dict[str, tuple[int, list[MarketBar]]]:
    """Broker's name of each symbol -> its digits and its bars, oldest first."""
    found: dict[str, tuple[int, list[MarketBar]]] = {}
    bars: list[MarketBar] = []
    for line in dump.read_text().splitlines():
        if line.startswith("symbol "):
            _, name, digits = line.split()
            bars = []
            found[name] = int(digits), bars
            continue
        utc, server, *numbers = line.split()
        values = [float.fromhex(number) for number in numbers]
        buffers, place = {}, 4
        for indicator, count in COUNTS.items():
            buffers[indicator] = tuple(values[place : place + count])
            place += count
        bars.append(MarketBar(int(utc), int(server), values[0], values[1], values[2], values[3], buffers))
    return found


def _has(value: float) -> bool:
    return math.isfinite(value) and value != 0 and abs(value) < sys.float_info.max


class Expected:
    """The rows of one symbol."""

    def __init__(self, bars: Sequence[MarketBar], digits: int) -> None:
        self._bars = bars
        self._digits = digits
        self._scores: dict[int, float | None] = {}

    def rows(self, first: int = 0) -> dict[int, Row]:
        """Bar open in UTC -> the row of each bar from the one at `first` on."""
        return {self._bars[place].utc: self._row(place) for place in range(first, len(self._bars))}

    def _row(self, place: int) -> Row:
        bar = self._bars[place]
        _, smma, hrma, tema = bar.buffers["averages"]
        return {
            "open": bar.open,
            "high": bar.high,
            "low": bar.low,
            "close": bar.close,
            "tema": tema if _has(tema) else None,
            "hrma": hrma if _has(hrma) else None,
            "smma": smma if _has(smma) else None,
            "fractals": {
                "peaks": self._points("fractals", (0, 2), place),
                "bottoms": self._points("fractals", (1, 3), place),
            },
            "horizontal_trendlines": {
                **{f"peak_{n}": self._line("fractals", 3 + n, place, level=True) for n in (1, 2, 3)},
                **{f"bottom_{n}": self._line("fractals", 6 + n, place, level=True) for n in (1, 2, 3)},
            },
            "diagonal_trendlines": {
                **{f"ascending_{n}": self._line("diagonals", n - 1, place) for n in (1, 2, 3)},
                **{f"descending_{n}": self._line("diagonals", n + 2, place) for n in (1, 2, 3)},
            },
            "momentum_candles": self._momentum(place),
            "keltner_channels": self._bands(bar),
            "zigzag": {"peaks": self._points("zigzag", (0,), place), "bottoms": self._points("zigzag", (1,), place)},
        }

    def _window(self, place: int) -> Iterator[int]:
        """The places a bar looks back at, the newest first."""
        return iter(range(place, max(place - WINDOW, -1), -1))

    def _price(self, value: float) -> float:
        return float(f"{value:.{self._digits}f}")

    def _point(self, place: int, value: float) -> Row:
        return {"time": self._bars[place].utc, "price": self._price(value)}

    def _points(self, indicator: str, buffers: Sequence[int], place: int) -> list[Row]:
        found: list[Row] = []
        for at in self._window(place):
            values = [value for buffer in buffers if _has(value := self._bars[at].buffers[indicator][buffer])]
            if values:
                found.insert(0, self._point(at, values[0]))
            if len(found) == LISTED:
                break
        return found

    def _line(self, indicator: str, buffer: int, place: int, *, level: bool = False) -> list[Row]:
        run: list[tuple[int, float]] = []
        for at in self._window(place):
            value = self._bars[at].buffers[indicator][buffer]
            if _has(value) and not (level and run and value != run[0][1]):
                run.append((at, value))
            elif run:
                break
        ends = [run[-1], run[0]] if len(run) > 1 else run
        return [self._point(at, value) for at, value in ends]

    def _momentum(self, place: int) -> list[Row]:
        found: list[Row] = []
        for at in self._window(place):
            kind = self._bars[at].buffers["momentum"][4]
            if kind in (1, 2, 4, 5):
                found.insert(0, {"time": self._bars[at].utc, "type": int(kind), "zscore": self._score(at)})
            if len(found) == LISTED:
                break
        return found

    def _score(self, place: int) -> float | None:
        value = self._bars[place].buffers["momentum"][6]
        if _has(value):
            return round(value, 4)
        if place + 1 < SCORED:
            return None
        if place not in self._scores:
            bodies = [abs(bar.close - bar.open) for bar in self._bars[place + 1 - SCORED : place + 1]]
            self._scores[place] = round((bodies[-1] - statistics.fmean(bodies)) / statistics.stdev(bodies), 4)
        return self._scores[place]

    def _bands(self, bar: MarketBar) -> Row | None:
        values = [self._price(value) if _has(value) else None for value in bar.buffers["keltner"]]
        return dict(zip(BANDS, values, strict=True)) if any(values) else None


def stored(file: Path, table: str) -> dict[int, Row]:
    """Bar open in UTC -> the row that the file has of it, JSON read."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        rows = {row["timestamp"]: dict(row) for row in connection.execute(f"select * from {table}")}
    for row in rows.values():
        del row["timestamp"]
        for column in JSON_COLUMNS:
            row[column] = None if row[column] is None else json.loads(row[column])
    return rows


def _alike(one: object, other: object) -> bool:
    """Equal, but that a z-score's fourth decimal may be rounded either way."""
    if isinstance(one, list) and isinstance(other, list) and one and other and "zscore" in one[0]:
        return [_without_score(each) for each in one] == [_without_score(each) for each in other] and all(
            (mine["zscore"] is None) == (its["zscore"] is None)
            and abs((mine["zscore"] or 0) - (its["zscore"] or 0)) < 2e-4
            for mine, its in zip(one, other, strict=True)
        )
    return one == other


def _without_score(point: Row) -> Row:
    return {key: value for key, value in point.items() if key != "zscore"}


def differences(expected: dict[int, Row], found: dict[int, Row]) -> list[str]:
    """The first few ways in which the rows found are not those expected."""
    lines = [f"{time}: missing" for time in expected.keys() - found.keys()]
    lines += [f"{time}: should not be there" for time in found.keys() - expected.keys()]
    for time in sorted(expected.keys() & found.keys()):
        for column, value in expected[time].items():
            if not _alike(value, found[time][column]):
                lines.append(f"{time} {column}: expected {value!r}, found {found[time][column]!r}")
    return lines[:10]
