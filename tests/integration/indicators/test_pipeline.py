"""Candles become indicators: whole series, increments, and what may happen to candles meanwhile."""

from __future__ import annotations

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest

from indicators.statements import LEVELS
from tests.support.indicator_oracle import walk
from tests.support.indicators_world import IndicatorsWorld

DAY = 375


def day_of(bars: pd.DataFrame, number: int) -> pd.DataFrame:
    """One session day of a series of minutes."""
    return bars.iloc[number * DAY : (number + 1) * DAY]


def test_all_timeframes_equal_the_oracle_and_a_second_run_writes_nothing(indicators_world: IndicatorsWorld) -> None:
    world = indicators_world
    for number, timeframe in enumerate(("1m", "5m", "1h", "1d"), 1):
        world.write(1, timeframe, walk(number, 1_500, timeframe))
    world.write(2, "1m", walk(5, 700, flat=(100, 500)), "INDEX")
    world.write(3, "1d", walk(6, 400, "1d", quiet=(0, 400)))
    world.write(4, "1m", walk(7, 3, gaps=0.5))
    assert "7,103 candles read, 7,103 changed, 0 rejected" in world.indicators("run")
    world.check()
    before = world.versions()
    assert "0 candles read, 0 changed" in world.indicators("run")
    assert world.versions() == before
    assert world.query("select count(*) from staging.indicator_values") == [(0,)]
    [(months,)] = world.query("select count(*) from pg_inherits where inhparent = 'market.indicator_data'::regclass")
    assert months > 12


@pytest.mark.only_on("embedded")
def test_a_new_session_reads_tails_and_equals_the_whole(indicators_world: IndicatorsWorld) -> None:
    world = indicators_world
    bars = walk(1, 6_000 + DAY)
    world.write(1, "1m", bars.iloc[:6_000])
    world.indicators("run")
    before = world.versions()
    world.write(1, "1m", bars.iloc[6_000:])
    # warm-up, overlap and today
    assert f"{2_500 + 300 + DAY:,} candles read, {DAY} changed" in world.indicators("run")
    world.check()
    assert world.versions()[: len(before)] == before


@pytest.mark.only_on("embedded")
def test_a_late_bar_in_the_middle_moves_all_that_follows(indicators_world: IndicatorsWorld) -> None:
    world = indicators_world
    bars = walk(2, 6_000)
    late = bars.iloc[[4_000]]
    world.write(1, "1m", bars.drop(index=4_000))
    world.indicators("run")
    before = world.versions()
    world.write(1, "1m", late)
    printed = world.indicators("run")
    # 2,800 before the session day, whose first 250 stay, and all that follows, where OBV differs to the end
    assert "5,050 candles read, 2,000 changed" in printed, printed
    world.check()
    assert world.versions()[:4_000] == before[:4_000]


@pytest.mark.only_on("embedded")
def test_a_split_in_the_past_computes_the_whole_series_again(indicators_world: IndicatorsWorld) -> None:
    world = indicators_world
    bars = walk(3, 3_500)
    world.write(1, "1m", bars.iloc[:3_400])
    world.write(2, "1m", walk(4, 300))
    world.indicators("run")
    split = bars.copy()
    split.loc[:3_000, ["open", "high", "low", "close"]] /= 5
    world.write(1, "1m", split.iloc[:3_001])
    assert "3,400 candles read" in world.indicators("run")
    world.check()


@pytest.mark.only_on("embedded")
def test_a_change_that_no_stamp_shows_is_found_in_the_overlap(indicators_world: IndicatorsWorld) -> None:
    world = indicators_world
    bars = walk(4, 4_000 + DAY)
    world.write(1, "1m", bars.iloc[:4_000])
    world.indicators("run")
    changed = bars.copy()
    changed.loc[3_800, ["high", "close"]] *= 1.01
    world.execute(
        f"update market.candle_data set high = {changed.loc[3_800, 'high']}, close = {changed.loc[3_800, 'close']}"
        f" where timestamp = timestamptz 'epoch' + {changed.loc[3_800, 'at']} * interval '1 microsecond'"
    )
    world.held.clear()
    world.held[1, "1m"] = changed.iloc[:4_000]
    world.write(1, "1m", changed.iloc[4_000:])
    world.indicators("run")
    world.check()


@pytest.mark.only_on("embedded")
def test_pruned_candles_do_not_move_the_seed(indicators_world: IndicatorsWorld) -> None:
    world = indicators_world
    bars = walk(5, 3_000 + DAY)
    world.write(1, "1m", bars.iloc[:3_000])
    world.indicators("run")
    before = world.versions()
    world.execute(
        f"delete from market.candle_data where timestamp < timestamptz 'epoch' + {bars.loc[1_875, 'at']}"
        " * interval '1 microsecond'"
    )
    world.write(1, "1m", bars.iloc[3_000:])
    world.indicators("run")
    world.check()
    assert world.versions()[:3_000] == before
    assert "0 changed" in world.indicators("run", "--no-resume")
    world.check()


@pytest.mark.only_on("embedded")
def test_a_candle_that_is_gone_takes_its_row_along(indicators_world: IndicatorsWorld) -> None:
    world = indicators_world
    bars = walk(6, 1_500)
    world.write(1, "1m", bars)
    world.indicators("run")
    # history replaces a day, and lacks a minute that intraday had
    day = day_of(bars, 3).drop(index=[3 * DAY + 100])
    world.execute(
        f"delete from market.candle_data where timestamp = timestamptz 'epoch' + {bars.loc[3 * DAY + 100, 'at']}"
        " * interval '1 microsecond'"
    )
    world.held[1, "1m"] = bars.drop(index=[3 * DAY + 100])
    world.write(1, "1m", day.assign(close=day["close"] * 1.0001, high=day["high"] * 1.0001))
    world.indicators("run")
    world.check()


@pytest.mark.only_on("embedded")
def test_pivots_never_look_at_their_own_day(indicators_world: IndicatorsWorld) -> None:
    world = indicators_world
    bars = walk(7, 4 * DAY)
    world.write(1, "1m", bars)
    world.indicators("run")
    levels = list(LEVELS)
    before = world.values(1, "1m")[levels]
    assert before.iloc[:DAY].isna().all(axis=None)
    changed = day_of(bars, 2).copy()
    changed[["open", "high", "low", "close"]] *= 1.5
    world.write(1, "1m", changed)
    world.indicators("run")
    world.check()
    after = world.values(1, "1m")[levels]
    pd.testing.assert_frame_equal(after.iloc[: 3 * DAY], before.iloc[: 3 * DAY])
    assert (after.iloc[3 * DAY :] > before.iloc[3 * DAY :]).all(axis=None)


@pytest.mark.only_on("embedded")
def test_a_price_that_is_no_finite_number_is_a_reject_and_spoils_nothing(indicators_world: IndicatorsWorld) -> None:
    world = indicators_world
    bars = walk(8, 600)
    broken = bars.copy()
    broken.loc[100, "close"] = np.nan
    broken.loc[200, "high"] = np.inf
    world.write(1, "1m", broken)
    assert "600 candles read, 598 changed, 2 rejected" in world.indicators("run")
    world.held[1, "1m"] = bars.drop(index=[100, 200])
    world.check()
    rejects = "select entity, row_key, column_name, reason, original from ops.rejected_rows where resolved_at is null"
    assert world.query(f"{rejects} order by row_key") == [
        ("1 1m", "2025-03-03T05:25:00.000000", "close", "is no finite number", "nan"),
        ("1 1m", "2025-03-03T07:05:00.000000", "high", "is no finite number", "inf"),
    ]
    world.write(1, "1m", bars.iloc[[100]])
    world.indicators("run")
    world.check()
    assert [key for _, key, *_ in world.query(rejects)] == ["2025-03-03T07:05:00.000000"]
