"""The indicators of one series of bars, by TA-Lib. No database, no files.

Every parameter is passed explicitly. TA-Lib's unstable period, which is one per process, stays 0. A NaN or an infinity
in the input would spoil every later value of a moving average, so the caller leaves such bars out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import talib
from numpy.typing import NDArray
from talib import MA_Type  # type: ignore[attr-defined]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

SMA = (9, 20, 50, 200)
EMA = (9, 21, 50, 200)
MICROSECONDS_A_DAY = 86_400_000_000
IST = 19_800_000_000
"""Microseconds that India is ahead of UTC; it has no daylight saving time."""


@dataclass(frozen=True)
class Bars:
    """A series of bars, oldest first; all arrays have one length and hold finite numbers.

    Attributes:
        at: when each bar opens, in microseconds since 1970 (UTC).
        volume: units traded.
    """

    at: Integers
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def __len__(self) -> int:
        return len(self.at)


def session_days(at: Integers) -> Integers:
    """The session day (IST) of each moment, as days since 1970."""
    return (at + IST) // MICROSECONDS_A_DAY


def indicators(bars: Bars, seeds: Mapping[int, float] | None = None) -> dict[str, Floats]:
    """All columns that TA-Lib computes: column -> its values, NaN where it has none.

    Args:
        bars: all bars of a series, or its end.
        seeds: period -> the exponential moving average at the first bar, if the bars before it are gone.
    """
    high, low, close, volume = bars.high, bars.low, bars.close, bars.volume
    found: dict[str, Floats] = {f"sma_{period}": talib.SMA(close, timeperiod=period) for period in SMA}
    for period in EMA:
        seed = (seeds or {}).get(period, np.nan)
        found[f"ema_{period}"] = talib.EMA(close, timeperiod=period) if np.isnan(seed) else _ema(close, period, seed)
    found["rsi_14"] = talib.RSI(close, timeperiod=14)
    found["macd"], found["macd_signal"], found["macd_histogram"] = talib.MACD(
        close, fastperiod=12, slowperiod=26, signalperiod=9
    )
    found["bb_upper"], found["bb_middle"], found["bb_lower"] = talib.BBANDS(
        close, timeperiod=20, nbdevup=2.0, nbdevdn=2.0, matype=MA_Type.SMA
    )
    found["atr_14"] = talib.ATR(high, low, close, timeperiod=14)
    found["adx"] = talib.ADX(high, low, close, timeperiod=14)
    found["plus_di"] = talib.PLUS_DI(high, low, close, timeperiod=14)
    found["minus_di"] = talib.MINUS_DI(high, low, close, timeperiod=14)
    found["supertrend"], direction = talib.SUPERTREND(high, low, close, timeperiod=10, multiplier=3.0)
    found["supertrend_direction"] = np.where(direction == 0, np.nan, direction)  # 0 in the warm-up
    found["obv"] = talib.OBV(close, volume)
    found["volume_sma_20"] = talib.SMA(volume, timeperiod=20)
    found["vwap"] = _vwap(bars)
    return found


def _ema(close: Floats, period: int, seed: float) -> Floats:
    """An exponential moving average that goes on from its value at the first bar."""
    # TA-Lib's seed is the mean of the first bars, and the mean of equal values is that value
    value: Floats = talib.EMA(np.concatenate([np.full(period, seed), close[1:]]), timeperiod=period)[period - 1 :]
    return value


def _vwap(bars: Bars) -> Floats:
    """The volume-weighted average price of each session day so far; NaN before its first trade."""
    days = session_days(bars.at)
    starts = np.flatnonzero(np.diff(days, prepend=days[:1] - 1))
    lengths = np.diff(starts, append=len(days))
    value = (bars.high + bars.low + bars.close) / 3  # what a day of one bar comes to
    # TA-Lib adds up over the whole array, so each day is an array of its own
    for start, length in zip(starts[lengths > 1].tolist(), lengths[lengths > 1].tolist(), strict=True):
        day = slice(start, start + length)
        value[day] = talib.VWAP(bars.high[day], bars.low[day], bars.close[day], bars.volume[day])
    traded = np.cumsum(bars.volume > 0)
    before: Integers = np.repeat(traded[starts] - (bars.volume[starts] > 0), lengths)
    value[traded == before] = np.nan
    return value
