"""Each indicator of a series of bars equals TA-Lib's over the whole series; no database."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest

from extract.settings import load_project
from indicators.compute import Bars, indicators, session_days
from indicators.statements import LEVELS
from tests.support.indicator_oracle import differences, expected, walk

REAL_BARS = Path(__file__).parents[3] / "shared" / "data" / "real_bars.csv.gz"
CASES = {
    "minutes": walk(1, 3_000),
    "five minutes": walk(2, 3_000, "5m"),
    "hours": walk(3, 2_000, "1h"),
    "days": walk(4, 2_000, "1d"),
    "flat": walk(5, 1_200, flat=(0, 1_200)),
    "flat in the middle": walk(6, 1_200, flat=(300, 700)),
    "gappy": walk(7, 1_200, gaps=0.3),
    "never traded": walk(8, 1_200, quiet=(0, 1_200)),
    "not traded at first": walk(9, 1_200, quiet=(0, 500)),
    "dear": walk(10, 1_200, price=80_000.0),
    "cheap": walk(11, 1_200, price=0.05),
    **{f"{bars} bars": walk(12, bars) for bars in (1, 2, 9, 10, 11, 19, 20, 33, 34, 199, 200, 201)},
}


def computed(bars: pd.DataFrame, seeds: dict[int, float] | None = None) -> pd.DataFrame:
    arrays = [bars[name].to_numpy(dtype=np.float64) for name in ("high", "low", "close", "volume")]
    found = indicators(Bars(bars["at"].to_numpy(), *arrays), seeds)
    return pd.DataFrame(found, index=bars["at"].to_numpy())


def without_levels(bars: pd.DataFrame) -> pd.DataFrame:
    return expected(bars).drop(columns=list(LEVELS))


@pytest.mark.parametrize("name", CASES)
def test_each_indicator_equals_the_oracle(name: str) -> None:
    bars = CASES[name]
    assert differences(computed(bars), without_levels(bars)) == []


@pytest.mark.skipif(not REAL_BARS.exists(), reason="the file of real bars is not on this machine")
def test_each_indicator_of_real_markets_equals_the_oracle() -> None:
    frame = pd.read_csv(REAL_BARS)
    assert len(frame) == 280_000
    for symbol, rows in frame.groupby("symbol"):
        bars = rows.assign(at=rows["timestamp"] * 1_000_000, volume=np.arange(len(rows)) % 7).reset_index(drop=True)
        assert differences(computed(bars), without_levels(bars)) == [], symbol


def test_the_columns_are_those_of_the_list() -> None:
    columns = [*computed(CASES["minutes"]).columns, *LEVELS]
    assert sorted(columns) == sorted(load_project().indicator_types)
    assert sorted(expected(CASES["10 bars"]).columns) == sorted(columns)


def test_a_constant_series_has_zeros_and_no_nan_behind_the_warm_up() -> None:
    last = computed(CASES["flat"]).iloc[-1]
    assert last[["rsi_14", "adx", "plus_di", "minus_di", "atr_14"]].tolist() == [0, 0, 0, 0, 0]
    assert last[["bb_upper", "bb_lower", "supertrend"]].tolist() == pytest.approx([last["sma_9"]] * 3, rel=1e-12)
    assert not last.isna().any()


def test_what_is_in_its_warm_up_has_no_value() -> None:
    frame = computed(CASES["minutes"])
    warm_up = frame.notna().idxmax().map(list(frame.index).index)
    assert warm_up["supertrend_direction"] == warm_up["supertrend"] == 10
    assert warm_up["sma_200"] == warm_up["ema_200"] == 199
    assert set(frame["supertrend_direction"].dropna()) == {1, -1}


def test_vwap_begins_anew_each_session_day_in_india() -> None:
    bars = CASES["minutes"]
    first = bars.iloc[375]
    assert session_days(bars["at"].to_numpy())[[374, 375]].tolist() == [20150, 20151]
    assert computed(bars)["vwap"].iloc[375] == pytest.approx((first["high"] + first["low"] + first["close"]) / 3, 1e-14)


def test_a_moving_average_goes_on_from_its_seed() -> None:
    bars = CASES["minutes"]
    whole = computed(bars)
    rest = bars.iloc[1_000:].reset_index(drop=True)
    seeds = {period: float(whole[f"ema_{period}"].iloc[1_000]) for period in (9, 21, 50, 200)}
    found = computed(rest, seeds)
    for period in seeds:
        np.testing.assert_allclose(found[f"ema_{period}"], whole[f"ema_{period}"].iloc[1_000:], rtol=1e-13)
    assert not np.allclose(computed(rest)["ema_200"].iloc[300:], whole["ema_200"].iloc[1_300:], rtol=1e-9)
