"""What the indicators of a series of bars are: TA-Lib over the whole series, and pandas where TA-Lib has nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import talib

NUMBERS = ["open", "high", "low", "close", "volume"]


def walk(
    seed: int,
    bars: int,
    timeframe: str = "1m",
    *,
    start: str = "2025-03-03",
    price: float = 500.0,
    flat: tuple[int, int] | None = None,
    quiet: tuple[int, int] | None = None,
    gaps: float = 0.0,
) -> pd.DataFrame:
    """A random walk in sessions of 375 minutes from 09:15 IST.

    Args:
        seed: of the random numbers.
        bars: how many.
        timeframe: 1m, 5m, 1h or 1d.
        start: the first session day.
        price: of the first bar.
        flat: the places between which all prices are the same.
        quiet: the places between which nothing is traded.
        gaps: the share of bars that are missing.

    Returns:
        `at` (microseconds since 1970) and the numbers of a bar.
    """
    random = np.random.default_rng(seed)
    minutes = {"1m": 1, "5m": 5, "1h": 60, "1d": 375}[timeframe]
    a_day = -(-375 // minutes)
    wanted = int(bars / (1 - gaps) * 1.3) + 10 if gaps else bars
    place = np.arange(wanted)
    opens = pd.Timestamp(start, tz="Asia/Kolkata") + pd.Timedelta(hours=0 if timeframe == "1d" else 9.25)
    at = opens.value // 1000 + ((place // a_day) * 1440 + (place % a_day) * minutes) * 60_000_000
    close = price * np.exp(np.cumsum(random.normal(0, 0.001, wanted)))
    if flat:
        close[slice(*flat)] = close[flat[0]]
    opened = np.concatenate([close[:1], close[:-1]])
    spread = np.abs(random.normal(0, 0.0005, (2, wanted)))
    if flat:
        spread[:, slice(*flat)] = 0
        opened[slice(*flat)] = close[flat[0]]
    volume = random.integers(0, 5_000, wanted)
    if quiet:
        volume[slice(*quiet)] = 0
    frame = pd.DataFrame(
        {
            "at": at,
            "open": opened,
            "high": np.maximum(opened, close) * (1 + spread[0]),
            "low": np.minimum(opened, close) * (1 - spread[1]),
            "close": close,
            "volume": volume,
        }
    )
    if gaps:
        frame = frame[random.random(wanted) >= gaps]
    return frame.head(bars).reset_index(drop=True)


def expected(bars: pd.DataFrame) -> pd.DataFrame:
    """All columns for each bar; NaN where there is no value. The index is `at`."""
    bars = bars.reset_index(drop=True)
    high, low, close, volume = (bars[name].to_numpy(dtype=np.float64) for name in NUMBERS[1:])
    found: dict[str, Any] = {}
    for period in (9, 20, 50, 200):
        found[f"sma_{period}"] = talib.SMA(close, timeperiod=period)
    for period in (9, 21, 50, 200):
        found[f"ema_{period}"] = talib.EMA(close, timeperiod=period)
    found["rsi_14"] = talib.RSI(close, timeperiod=14)
    found["macd"], found["macd_signal"], found["macd_histogram"] = talib.MACD(
        close, fastperiod=12, slowperiod=26, signalperiod=9
    )
    found["bb_upper"], found["bb_middle"], found["bb_lower"] = talib.BBANDS(
        close, timeperiod=20, nbdevup=2.0, nbdevdn=2.0
    )
    found["atr_14"] = talib.ATR(high, low, close, timeperiod=14)
    found["adx"] = talib.ADX(high, low, close, timeperiod=14)
    found["plus_di"] = talib.PLUS_DI(high, low, close, timeperiod=14)
    found["minus_di"] = talib.MINUS_DI(high, low, close, timeperiod=14)
    found["supertrend"], found["supertrend_direction"] = supertrend(high, low, close)
    found["obv"] = np.cumsum(np.concatenate([volume[:1], np.sign(np.diff(close)) * volume[1:]]))
    found["volume_sma_20"] = pd.Series(volume).rolling(20).mean().to_numpy()
    columns = pd.DataFrame(found, index=bars["at"].to_numpy())
    return pd.concat([columns, _vwap(bars), _levels(bars)], axis=1)


def supertrend(high: Any, low: Any, close: Any) -> tuple[Any, Any]:
    """Supertrend (10, 3) and its direction, bar by bar."""
    atr = talib.ATR(high, low, close, timeperiod=10)
    line, direction = np.full(len(close), np.nan), np.full(len(close), np.nan)
    upper = lower = np.nan
    trend = 1
    for bar in range(10, len(close)):
        middle = (high[bar] + low[bar]) / 2
        above, below = middle + 3 * atr[bar], middle - 3 * atr[bar]
        if bar == 10 or above < upper or close[bar - 1] > upper:
            upper = above
        if bar == 10 or below > lower or close[bar - 1] < lower:
            lower = below
        if bar > 10 and trend == 1 and close[bar] < lower:
            trend = -1
        elif bar > 10 and trend == -1 and close[bar] > upper:
            trend = 1
        line[bar], direction[bar] = (lower if trend == 1 else upper), trend
    return line, direction


def _days(bars: pd.DataFrame) -> Any:
    return pd.to_datetime(bars["at"], unit="us", utc=True).dt.tz_convert("Asia/Kolkata").dt.date.to_numpy()


def _vwap(bars: pd.DataFrame) -> pd.Series[float]:
    typical = (bars["high"] + bars["low"] + bars["close"]) / 3
    days = pd.Series(_days(bars))
    traded = (typical * bars["volume"]).groupby(days).cumsum()
    volume = bars["volume"].groupby(days).cumsum()
    return pd.Series((traded / volume.where(volume > 0)).to_numpy(), index=bars["at"].to_numpy(), name="vwap")


def _levels(bars: pd.DataFrame) -> pd.DataFrame:
    """The classic pivots and Fibonacci's levels of the session day before each bar's."""
    days = pd.Series(_days(bars), index=bars.index)
    before = bars.groupby(days).agg(high=("high", "max"), low=("low", "min"), close=("close", "last")).shift(1)
    pivot = (before["high"] + before["low"] + before["close"]) / 3
    reach = before["high"] - before["low"]
    levels = pd.DataFrame(
        {
            "pivot_point": pivot,
            "pivot_r1": pivot * 2 - before["low"],
            "pivot_r2": pivot + reach,
            "pivot_r3": before["high"] + (pivot - before["low"]) * 2,
            "pivot_s1": pivot * 2 - before["high"],
            "pivot_s2": pivot - reach,
            "pivot_s3": before["low"] - (before["high"] - pivot) * 2,
            "fib_r1": pivot + reach * 0.382,
            "fib_r2": pivot + reach * 0.618,
            "fib_s1": pivot - reach * 0.382,
            "fib_s2": pivot - reach * 0.618,
        }
    )
    return levels.loc[days.to_numpy()].set_index(bars["at"].to_numpy())


def differences(found: pd.DataFrame, wanted: pd.DataFrame) -> list[str]:
    """Where two tables of indicators are more than 10^-9 apart, relatively or absolutely; empty where nowhere."""
    if list(found.index) != list(wanted.index):
        missing, more = wanted.index.difference(found.index), found.index.difference(wanted.index)
        return [f"{len(missing)} bars are missing, {len(more)} too many, first {[*missing, *more][:3]}"]
    lines = [f"no column {name}" for name in wanted.columns.symmetric_difference(found.columns)]
    for name in wanted.columns.intersection(found.columns):
        ours, theirs = found[name].to_numpy(dtype=np.float64), wanted[name].to_numpy(dtype=np.float64)
        off = ~np.isclose(ours, theirs, rtol=1e-9, atol=1e-9, equal_nan=True)
        if off.any():
            at = int(np.argmax(off))
            lines.append(f"{name}: {int(off.sum())} bars, first {found.index[at]}: {ours[at]!r} for {theirs[at]!r}")
    return lines
