"""A batch of series: read its candles, compute, compare with what is stored, keep what is new or different.

The incremental rule. A series is computed from some bars before its first change (the warm-up) to its end. The last
bars before the change (the overlap) must come out as they are stored. If one does not, the warm-up was too short, or an
older candle has changed: twice as many bars are read, at last all of them.

On-balance volume has no warm-up; it goes on from the stored value. Nor has Supertrend: it forgets the past where it
turns, so the overlap has to have a turn. Where a series' first bars are gone, its moving averages go on from the stored
value at its first bar, because another first bar would be another seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from extract.quoting import identifier, literal
from indicators.compute import EMA, Bars, Floats, indicators, session_days
from indicators.files import Content
from indicators.series import Mark, Series
from indicators.statements import candles_sql, compared_sql, disagreeing_sql, results_sql, stored_sql

WARM_UP = 2_500
"""Bars before the overlap: an EMA 200 needs as many to forget its seed to one part in 10^11."""
OVERLAP = 300
"""Bars that are compared with what is stored; the Supertrend turns every 30 or so."""
NEVER = -(2**62)
PRICES = ("open", "high", "low", "close")


@dataclass
class Task:
    """One series in one round; `doubled` says how often its warm-up and overlap have been doubled."""

    number: int
    series: Series
    doubled: int = 0

    @property
    def overlap(self) -> int:
        """Bars to compare."""
        return OVERLAP << self.doubled

    @property
    def bars(self) -> int | None:
        """Bars to read before the change; None: all."""
        return None if self.series.changed_from is None else (WARM_UP + OVERLAP) << self.doubled


@dataclass
class Loaded:
    """A series with its candles.

    Attributes:
        left_out: candles with a price that is no finite number, as rejects.
        read_from: the moment of the first candle that was read.
        is_whole: whether these are all the candles that there are.
        is_pruned: whether there were older ones once.
        before: how many bars come before the change.
    """

    task: Task
    bars: Bars
    left_out: list[tuple[str, ...]]
    read_from: int
    is_whole: bool
    is_pruned: bool
    before: int

    @property
    def goes_on(self) -> bool:
        """Whether it goes on from a stored value, because bars before the first one are not at hand."""
        return (not self.is_whole or self.is_pruned) and self.before > 0

    @property
    def anchors(self) -> list[int]:
        """The places whose stored values it goes on from: the first bar, the last one before the change."""
        return [0, self.before - 1] if self.goes_on else []

    @property
    def compared_from(self) -> int:
        """The moment from which stored rows are needed."""
        changed = self.task.series.changed_from
        if not len(self.bars):
            return NEVER if changed is None else changed
        return int(self.bars.at[0 if self.is_whole else max(0, self.before - self.task.overlap)])


class SeriesBatch:
    """Computes series in a DuckDB session that has the warehouse attached as `wh`.

    Args:
        types: the columns of `market.indicator_data` beside key and stamp: name -> Postgres type.
        has_values: whether the warehouse holds any values to compare with.
    """

    def __init__(self, session: duckdb.DuckDBPyConnection, types: Mapping[str, str], has_values: bool) -> None:
        self._session = session
        self._types = types
        self._has_values = has_values
        self.candles_read = 0

    def write(self, series: Sequence[Series], path: str) -> int:
        """Compute the series and write what is new or different as Parquet; return how many rows that is."""
        settled: list[Loaded] = []
        tasks = [Task(number, each) for number, each in enumerate(series)]
        rounds = 0
        while tasks:
            tasks = self._round(tasks, rounds, settled)
            rounds += 1
        found = " union all ".join(results_sql(self._types, each) for each in range(rounds))
        keys = ", ".join(f"({n}, {each.instrument_id}, {literal(each.timeframe)})" for n, each in enumerate(series))
        [(rows,)] = self._session.execute(
            "copy (select instrument_id, timeframe, make_timestamptz(bar_at) as timestamp,"
            f" {', '.join(map(identifier, self._types))}"
            f" from ({found}) as found join (values {keys}) as series (no, instrument_id, timeframe) using (no))"
            f" to {literal(path)}"
            " (format parquet, compression lz4_raw, dictionary_size_limit 1,"
            f" kv_metadata {{content: {literal(_content(settled).text())}}})"
        ).fetchall()
        for each in range(rounds):
            for table in ("stored", "compared", "bounds"):
                self._session.execute(f"drop table {table}_{each}")
        return int(rows)

    def _round(self, tasks: Sequence[Task], round_: int, settled: list[Loaded]) -> list[Task]:
        """Compute each task; return those whose overlap disagrees, to be tried again with twice the bars."""
        loaded = self._load(tasks)
        self._read_stored(loaded, round_)
        anchors = self._anchors(loaded, round_)
        values = [self._values(each, anchors) for each in loaded]
        self._tabulate(loaded, values, round_)
        disagreeing = {no for (no,) in self._session.execute(disagreeing_sql(round_)).fetchall()}
        again = []
        for each, columns in zip(loaded, values, strict=True):
            task = each.task
            if not each.is_whole and (task.number in disagreeing or not _turns(each, columns)):
                again.append(Task(task.number, task.series, task.doubled + 1))
                self._session.execute(f"update bounds_{round_} set is_settled = false where no = {task.number}")
            else:
                settled.append(each)
        return again

    def _load(self, tasks: Sequence[Task]) -> list[Loaded]:
        """Read the candles of all tasks in one query."""
        found = self._session.execute(candles_sql([(t.number, t.series, t.bars) for t in tasks])).fetchnumpy()
        self.candles_read += len(found["no"])
        loaded = []
        for task in tasks:
            start, end = np.searchsorted(found["no"], [task.number, task.number + 1]).tolist()
            prices = {name: np.ma.filled(found[name][start:end], np.nan) for name in PRICES}
            finite = np.logical_and.reduce([np.isfinite(price) for price in prices.values()])
            at = found["bar_at"][start:end]
            left_out = [
                _reject(task.series, int(at[place]), {name: float(price[place]) for name, price in prices.items()})
                for place in np.flatnonzero(~finite)
            ]
            volume = found["volume"][start:end]
            high, low, close = (prices[name][finite] for name in PRICES[1:])
            bars = Bars(at[finite], high, low, close, volume[finite])
            changed, first_bar = task.series.changed_from, task.series.first_bar
            is_whole = bool(found["is_whole"][start]) if end > start else True
            loaded.append(
                Loaded(
                    task,
                    bars,
                    left_out,
                    read_from=int(at[0]) if end > start else task.series.changed_from or 0,
                    is_whole=is_whole,
                    is_pruned=is_whole and first_bar is not None and end > start and int(at[0]) > first_bar,
                    before=0 if changed is None else int(np.searchsorted(bars.at, changed)),
                )
            )
        return loaded

    def _read_stored(self, loaded: Sequence[Loaded], round_: int) -> None:
        """Make a table of what the warehouse holds of the compared bars and of those after."""
        wanted = [(each.task.number, each.task.series, each.compared_from) for each in loaded]
        rows = stored_sql(wanted, self._types, empty=not self._has_values)
        self._session.execute(f"create or replace temp table stored_{round_} as {rows}")

    def _anchors(self, loaded: Sequence[Loaded], round_: int) -> dict[tuple[int, int], dict[str, float]]:
        """The stored values that series go on from: (number, moment) -> column -> value."""
        wanted = [(each.task.number, int(each.bars.at[place])) for each in loaded for place in each.anchors]
        if not wanted:
            return {}
        columns = ["obv", *(f"ema_{period}" for period in EMA)]
        rows = self._session.execute(
            f"select no, bar_at, {', '.join(columns)} from stored_{round_}"
            f" where (no, bar_at) in ({', '.join(map(str, wanted))})"
        ).fetchall()
        return {
            (no, at): {name: value for name, value in zip(columns, row, strict=True) if value is not None}
            for no, at, *row in rows
        }

    def _values(self, each: Loaded, anchors: Mapping[tuple[int, int], Mapping[str, float]]) -> dict[str, Floats]:
        """The columns of a series, so far without those of the previous day."""
        if not len(each.bars):
            return {}
        seeds: dict[int, float] = {}
        number, at = each.task.number, each.bars.at
        if each.goes_on and each.is_pruned:
            first = anchors.get((number, int(at[0])), {})
            seeds = {period: first[f"ema_{period}"] for period in EMA if f"ema_{period}" in first}
        found = indicators(each.bars, seeds)
        if each.goes_on:
            last = anchors.get((number, int(at[each.before - 1])), {})
            if "obv" in last:
                found["obv"] += last["obv"] - found["obv"][each.before - 1]
            elif not each.is_whole:
                found["obv"][:] = np.nan  # nothing to go on from: the overlap disagrees
        return found

    def _tabulate(self, loaded: Sequence[Loaded], values: Sequence[Mapping[str, Floats]], round_: int) -> None:
        """Make a table of the series' bounds, and one of all bars and columns compared with what is stored."""
        bounds = ", ".join(
            f"({each.task.number}, {each.is_whole and not each.goes_on}, {each.compared_from},"
            f" {NEVER if each.task.series.changed_from is None else each.task.series.changed_from}, true)"
            for each in loaded
        )
        self._session.execute(
            f"create or replace temp table bounds_{round_} as select * from (values {bounds})"
            " as bounds (no, is_complete, compared_from, changed_from, is_settled)"
        )
        filled = [(each, found) for each, found in zip(loaded, values, strict=True) if found]
        # DuckDB finds the arrays by the names of these variables
        bars: dict[str, NDArray[Any]] = {}
        arrays: dict[str, NDArray[Any]] = {}
        if filled:
            bars["no"] = np.concatenate([np.full(len(each.bars), each.task.number) for each, _ in filled])
            bars["bar_at"] = np.concatenate([each.bars.at for each, _ in filled])
            bars["day"] = session_days(bars["bar_at"])
            for name in ("high", "low", "close"):
                bars[name] = np.concatenate([getattr(each.bars, name) for each, _ in filled])
            # the warm-up has done its part
            compared = np.concatenate([each.bars.at >= each.compared_from for each, _ in filled])
            for name in ("no", "bar_at", "day"):
                arrays[name] = bars[name][compared]
            for name in filled[0][1]:
                arrays[name] = np.concatenate([found[name] for _, found in filled])[compared]
        self._session.execute(
            f"create or replace temp table compared_{round_} as {compared_sql(self._types, round_, empty=not arrays)}"
        )


def _content(settled: Sequence[Loaded]) -> Content:
    """What the file says of itself."""
    return Content(
        [_mark(each) for each in settled],
        [reject for each in settled for reject in each.left_out],
        [(_entity(each.task.series), _utc(each.read_from)) for each in settled],
    )


def _entity(series: Series) -> str:
    return f"{series.instrument_id} {series.timeframe}"


def _utc(moment: int) -> str:
    """Microseconds since 1970 as text that sorts like the moments."""
    return str(np.datetime64(moment, "us"))


def _reject(series: Series, at: int, prices: Mapping[str, float]) -> tuple[str, ...]:
    """A candle that is left out, as a reject of the first price that is no finite number."""
    name, price = next((name, price) for name, price in prices.items() if not np.isfinite(price))
    return (_entity(series), _utc(at), name, "is no finite number", str(price))


def _turns(each: Loaded, columns: Mapping[str, Floats]) -> bool:
    """Whether the Supertrend turns within the overlap."""
    if not columns:
        return False
    overlap = columns["supertrend_direction"][max(0, each.before - each.task.overlap) : each.before]
    return bool(np.any(overlap[1:] * overlap[:-1] < 0))


def _mark(each: Loaded) -> Mark:
    """How far the series is computed now."""
    series = each.task.series
    known = [] if series.first_bar is None else [series.first_bar]
    first = [int(each.bars.at[0])] if each.is_whole and len(each.bars) else []
    return Mark(series.instrument_id, series.timeframe, series.candles_until, min([*known, *first], default=None))
