"""A sync of Upstox: what it reads, what it asks for, what it leaves when it is killed."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from extract.settings import load_project
from tests.conftest import Server
from tests.support.upstox_rows import IST
from tests.support.upstox_world import UpstoxWorld, fill, months_ago, today, upstox_world_on


def test_a_first_sync_reads_instruments_days_and_minutes(upstox_world: UpstoxWorld) -> None:
    world = upstox_world
    first = months_ago(2)
    fill(world.fake, first)
    printed = world.sync()
    assert printed.startswith("done in "), printed
    days = [first + timedelta(days=n) for n in range((today() - first).days)]
    sessions = [day for day in days if day.weekday() < 5]
    for symbol in ("NIFTY", "RELIANCE", "SENSEX"):
        daily = world.candles(symbol, "1d")
        assert [row[0].astimezone(IST).date() for row in daily] == sessions
        assert len(world.candles(symbol, "1m")) == 3 * len(sessions)
    opened = datetime(sessions[0].year, sessions[0].month, sessions[0].day, 9, 15, tzinfo=IST)
    base = 100 + sessions[0].toordinal() % 50
    assert world.candles("RELIANCE", "1m")[0] == (opened, base, base + 1, base - 1, base, 10, 0)
    # three minutes are one bar of five minutes and one of an hour: first open, last close, sums
    for timeframe in ("5m", "1h"):
        bars = world.candles("RELIANCE", timeframe)
        assert len(bars) == len(sessions)
        assert bars[0] == (opened, base, base + 3, base - 1, base + 2, 30, 2)
    assert world.query("select count(*) from market.sessions") == [(2 * len(sessions),)]
    assert world.query("select * from market.gaps") == []
    found = {row[0] for row in world.query("select distinct timeframe from market.candle_data")}
    assert found == {*load_project().market_timeframes}
    assert (
        world.query("select expiry_date, lot_size, option_type from market.option_master")
        == [(today() + timedelta(days=30), 75, None)] * 2
    )


@pytest.mark.only_on("embedded")
def test_an_empty_warehouse_is_built_first_and_every_dbt_test_holds(server: Server, tmp_path: Path) -> None:
    with upstox_world_on(server.fresh_database("template1"), server.home, tmp_path) as world:
        fill(world.fake, months_ago(1))
        assert "nothing of Upstox was read yet" in world.upstox("status", code=2)
        assert "1 requests, 0 s; what follows depends on their replies" in world.sync("--dry-run")
        assert world.fake.requests() == []
        printed = world.sync("--test")
        assert "tests passed, 0 warned" in printed
        assert len(world.candles("TCS", "1m")) == 3 * len(world.candles("TCS", "1d")) > 0


@pytest.mark.only_on("embedded")
def test_the_test_needs_no_warehouse(upstox_world: UpstoxWorld) -> None:
    world = upstox_world
    fill(world.fake, months_ago(1))
    world.fake.refuse("/v2/market", 401, "UDAPI100067")
    lines = world.upstox("test").splitlines()
    assert lines[0].startswith(f"{world.fake.url} accepts the token: history can be read (")
    assert lines[1].startswith("the calendar cannot be read, which leaves weekdays as the prediction: Upstox refuses")
    world.settings["UPSTOX_ACCESS_TOKEN"] = ""
    assert "error: UPSTOX_ACCESS_TOKEN is not set" in world.upstox("test", code=2)
    assert "UPSTOX_MASTERS: " in _with(world, UPSTOX_MASTERS="NSE,MCX").upstox("test", code=2)


def _with(world: UpstoxWorld, **settings: str) -> UpstoxWorld:
    world.settings |= settings
    return world
