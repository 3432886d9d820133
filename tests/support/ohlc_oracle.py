"""What `public.ohlc` must hold, worked out by pandas from bars as Python has them."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pandas as pd  # type: ignore[import-untyped]
import psycopg2.extensions

from tests.support.collector import SYMBOLS

TIMEFRAMES = {"M5": 5, "M15": 15, "M30": 30, "H1": 60, "H2": 120, "H4": 240, "H8": 480, "H12": 720, "D1": 1440}
PRICES = ("open", "high", "low", "close")
EPOCH = pd.Timestamp(0, unit="s", tz="UTC")
LARGEST = 1.7976931348623157e308  # the terminal's "no value"


class Ohlc(NamedTuple):
    """A candle: its prices, how many bars it has, and whether a later period has one."""

    open: float
    high: float
    low: float
    close: float
    bars: int
    complete: bool


Key = tuple[str, str, int]
"""Symbol in lower case, timeframe, Unix seconds of the period's start."""


def resampled(symbol: str, bars: pd.DataFrame) -> dict[Key, Ohlc]:
    """Candles of all timeframes by `DataFrame.resample`; `bars` has the prices, indexed by UTC time in order."""
    candles: dict[Key, Ohlc] = {}
    for timeframe, minutes in TIMEFRAMES.items():
        periods = bars.resample(f"{minutes}min", origin="epoch")
        table = periods.agg({"open": "first", "high": "max", "low": "min", "close": "last"})
        table["bars"] = periods.size()
        table = table[table["bars"] > 0]
        complete = table.index + pd.Timedelta(minutes=minutes) <= bars.index[-1]
        starts = (table.index - EPOCH) // pd.Timedelta(seconds=1)
        columns = (table[each].tolist() for each in (*PRICES, "bars"))
        for start, first, high, low, last, count, over in zip(starts, *columns, complete, strict=True):
            candles[symbol.lower(), timeframe, int(start)] = Ohlc(first, high, low, last, count, bool(over))
    return candles


def expected_ohlc(path: Path) -> dict[Key, Ohlc]:
    """The candles of every symbol of a SQLite file; of several usable bars in a minute the newest counts."""
    candles: dict[Key, Ohlc] = {}
    with closing(sqlite3.connect(path)) as connection:
        present = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
        for symbol in present & {*SYMBOLS}:
            usable = {
                pd.Timestamp(timestamp // 60 * 60, unit="s", tz="UTC"): prices
                for timestamp, *prices in connection.execute(
                    f"select timestamp, {', '.join(PRICES)} from {symbol} order by timestamp"
                )
                if all(isinstance(price, float) and math.isfinite(price) and price != LARGEST for price in prices)
            }
            if usable:
                bars = pd.DataFrame(list(usable.values()), index=pd.DatetimeIndex(list(usable)), columns=list(PRICES))
                candles |= resampled(symbol, bars.sort_index())
    return candles


def stored_ohlc(connection: psycopg2.extensions.connection) -> dict[Key, Ohlc]:
    """The rows of `public.ohlc`."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select symbol, timeframe, extract(epoch from timestamp)::bigint, open, high, low, close, bars, complete"
            " from public.ohlc where synced_at is not null"
        )
        return {(row[0], row[1], row[2]): Ohlc(*row[3:]) for row in cursor}
