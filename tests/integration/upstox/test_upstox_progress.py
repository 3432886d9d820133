"""A sync of Upstox that is killed, planned, repeated: nothing is lost, nothing is downloaded twice."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server
from tests.support.upstox_rows import contract, share
from tests.support.upstox_world import NIFTY, SENSEX, UpstoxWorld, fill, months_ago, today, upstox_world_on

pytestmark = pytest.mark.only_on("embedded")

EXPIRED_WEEKLY = {"weekly": True, "lot_size": 75, "minimum_lot": 75}


def without_ids(world: UpstoxWorld) -> dict[str, list[tuple[Any, ...]]]:
    """All tables, with symbols in place of our numbers, which a killed transaction may use up."""
    names = dict(world.query("select instrument_id, trading_symbol from market.instrument_master"))
    return {
        name: sorted(((names[row[0]], *row[1:]) for row in rows), key=str)
        for name, rows in world.tables().items()
        if name != "master"
    }


@pytest.fixture
def whole(server: Server, tmp_path: Path) -> tuple[dict[str, list[tuple[Any, ...]]], int]:
    """The tables of a sync that nothing disturbed, and how many requests it sent."""
    with upstox_world_on(server.rest_database(), server.home, tmp_path) as world:
        fill(world.fake, months_ago(1))
        world.sync()
        return without_ids(world), len(world.fake.requests())


def test_a_sync_killed_anywhere_goes_on_where_it_was(
    server: Server, tmp_path: Path, whole: tuple[dict[str, list[tuple[Any, ...]]], int]
) -> None:
    tables, requests = whole
    with upstox_world_on(server.rest_database(), server.home, tmp_path) as world:
        fill(world.fake, months_ago(1))
        asked: list[str] = []
        # within the masters, the days, the minutes, and the lists of expiries
        for answered in (1, 6, 9, 4):
            world.fake.hold(answered)
            process = world.start("upstox", "sync")
            world.fake.wait_until_held()
            process.kill()
            process.communicate()
            world.fake.release()
            seen = world.fake.requests()
            # the one that was held had no answer
            asked += seen[: answered + 1][:answered]
        world.sync()
        asked += world.fake.requests()
        assert len(asked) == len(set(asked)) == requests
        assert without_ids(world) == tables


def test_a_service_that_fails_in_the_middle_costs_its_own_requests_alone(
    server: Server, tmp_path: Path, whole: tuple[dict[str, list[tuple[Any, ...]]], int]
) -> None:
    tables, requests = whole
    soon = {"Retry-After": "0"}
    with upstox_world_on(server.rest_database(), server.home, tmp_path) as world:
        fill(world.fake, months_ago(1))
        broken = [{"status": status, "body": "<h1>oh</h1>", "headers": soon} for status in (500, 502, 503, 504)]
        world.fake.next(*[{}] * 7, *broken)
        assert world.sync().startswith("done in ")
        asked = world.fake.requests()
        assert asked[7:12] == [asked[7]] * 5
        assert len(asked) - len(broken) == len(set(asked)) == requests
        assert without_ids(world) == tables


def test_a_service_that_goes_away_in_the_middle_is_asked_for_the_rest_later(
    server: Server, tmp_path: Path, whole: tuple[dict[str, list[tuple[Any, ...]]], int]
) -> None:
    tables, requests = whole
    with upstox_world_on(server.rest_database(), server.home, tmp_path) as world:
        fill(world.fake, months_ago(1))
        world.fake.next(*[{}] * 7, *[{"status": 503, "headers": {"Retry-After": "0"}}] * 8)
        assert "answers HTTP 503 (tried 8 times)" in world.sync(code=1)
        first = world.fake.requests()
        assert first[7:] == [first[7]] * 8
        assert world.sync().startswith("done in ")
        asked = first[:7] + world.fake.requests()
        assert len(asked) == len(set(asked)) == requests
        assert without_ids(world) == tables


def test_a_second_sync_asks_for_nothing_and_writes_nothing(upstox_world: UpstoxWorld) -> None:
    world = upstox_world
    fill(world.fake, months_ago(1))
    world.sync()
    world.fake.requests()
    versions = (
        "select instrument_id, timeframe, timestamp, xmin::text, ctid::text from market.candle_data order by 1, 2, 3"
    )
    before = world.query(versions)
    assert "0 requests" in world.sync()
    assert world.fake.requests() == []
    assert "0 requests, 0 s" in world.sync("--dry-run")
    # all days of the newest years again, which changes nothing either
    world.sync("--force", "--segment", "equity")
    days = [path for path in world.candle_requests() if "/days/" in path]
    assert len(days) == 4  # two shares, and the two indices that tell the sessions
    assert world.query(versions) == before


def test_a_dry_run_lists_what_a_sync_then_asks_for(upstox_world: UpstoxWorld) -> None:
    world = upstox_world
    world.fake.limit([(1000, 1.0)])  # both syncs may fall into one second
    fill(world.fake, months_ago(2))
    first = json.loads(world.call("upstox", "sync", "--dry-run", "--json", code=0).stdout)
    assert sorted(call for call in first["calls"] if not call.startswith("expiries")) == [
        "calendar holidays",
        "master BSE",
        "master NSE",
    ]
    assert not first["is_whole"]
    assert world.fake.requests() == []
    world.sync()
    world.fake.requests()
    gone = today().replace(day=1)
    world.execute(f"delete from market.candle_data where timeframe = '1m' and timestamp < '{gone}'")
    segments = ("--segment", "equity", "--segment", "indices_nse", "--segment", "indices_bse", "--force")
    plan = json.loads(world.call("upstox", "sync", *segments, "--dry-run", "--json", code=0).stdout)
    assert world.fake.requests() == []
    assert world.query("select count(*) from staging.upstox_windows where is_stale") == [(0,)]
    done = json.loads(world.call("upstox", "sync", *segments, "--json", code=0).stdout)
    asked = world.fake.requests()
    assert plan["requests"] == done["requests"] == len([path for path in asked if "/masters/" not in path])
    assert len(plan["calls"]) == len(asked)
    # four instruments, two months of minutes each, beside the days
    assert sum("/minutes/" in path for path in asked) == sum(" 1m " in call for call in plan["calls"]) >= 8
    assert plan["seconds"] == 0.0
    # what earlier runs sent counts: 2,000 requests just now leave none for half an hour, and then one each 0.9 s
    world.execute(
        "insert into staging.upstox_windows (instrument_id, timeframe, kind, window_start, window_end, instrument_key,"
        " timestamps, open, high, low, close, volume, oi, days, asked_at, extracted_at)"
        " select -n, '1d', 'history', '2025-01-01', '2025-01-01', 'x', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',"
        " clock_timestamp(), clock_timestamp() from generate_series(1, 2000) as n"
    )
    plan = json.loads(world.call("upstox", "sync", *segments, "--dry-run", "--json", code=0).stdout)
    assert 1_740 < plan["seconds"] - 0.9 * (plan["requests"] - 1) <= 1_800


def test_a_dry_run_counts_the_months_of_210_shares_since_2022(upstox_world: UpstoxWorld) -> None:
    world = upstox_world
    shares = [share(f"SHARE{n}", f"INE{n:03}A01018") for n in range(210)]
    futures = [contract(n, each, today() + timedelta(days=9), "FUT") for n, each in enumerate(shares)]
    world.fake.master("NSE", [NIFTY, *shares, *futures])
    world.fake.master("BSE", [SENSEX])
    world.sync("--segment", "indices_nse", code=1)  # reads the masters; of candles there are none here
    plan = json.loads(world.call("upstox", "sync", "--segment", "equity", "--dry-run", "--json", code=0).stdout)
    newest = today() - timedelta(days=1)
    months = (newest.year - 2022) * 12 + newest.month
    # where today's calendar is not known yet those of today are asked for, too
    minutes = [call for call in plan["calls"] if call.startswith("history") and " 1m " in call]
    assert len(minutes) == len(set(minutes)) == 210 * months
    assert "history SHARE7 1m 2022-01-01 to 2022-01-31" in minutes
    assert f"history SHARE7 1m {newest.replace(day=1)} to {newest}" in minutes
    # one each 0.9 s, for all do not fit into half an hour
    assert abs(plan["seconds"] - 0.9 * (plan["requests"] - 1)) < 10
    assert "h" in world.sync("--segment", "equity", "--dry-run").splitlines()[-1]


def test_status_is_right_after_rows_are_deleted_and_a_sync_brings_them_back(upstox_world: UpstoxWorld) -> None:
    world = upstox_world
    fill(world.fake, months_ago(1))
    world.sync()
    before = world.status()
    [equity] = next(each["parts"] for each in before["segments"] if each["segment"] == "equity")
    assert equity["instruments"] == 2
    assert equity["gaps"] == 0
    assert equity["minutes"] == 3 * equity["days"]
    day = world.candles("RELIANCE", "1d")[3][0].date()
    tables = without_ids(world)
    for statement in (
        "delete from market.candle_data using market.instrument_master as master where timeframe = '1m'"
        f" and master.instrument_id = candle_data.instrument_id and trading_symbol = 'RELIANCE'"
        f" and timestamp >= '{day}' and timestamp < '{day}'::date + 2",
        f"truncate market.candle_data_{months_ago(1):%Y_%m}",
    ):
        world.execute(statement)
        left = world.query(
            "select count(*), count(distinct candle_data.instrument_id) from market.candle_data"
            " join market.instrument_master as master using (instrument_id)"
            " where timeframe = '1m' and trading_symbol in ('RELIANCE', 'TCS')"
        )
        [found] = next(each["parts"] for each in world.status()["segments"] if each["segment"] == "equity")
        assert found["minutes"] == left[0][0] < equity["minutes"]
        world.sync("--force")
        assert without_ids(world) == tables
        assert world.status()["segments"][2]["parts"] == [equity]


def test_an_expired_weekly_option_is_read_for_its_last_week(upstox_world: UpstoxWorld) -> None:
    world = upstox_world
    fill(world.fake, months_ago(2))
    old, new = today() - timedelta(days=30), today() - timedelta(days=16)
    for expiry, token in ((new, 501), (old, 502)):
        key = f"NSE_FO|{token}|{expiry:%d-%m-%Y}"
        weekly = contract(token, NIFTY, expiry, "CE", 24000.0, **EXPIRED_WEEKLY, instrument_key=key)
        monthly = {**weekly, "instrument_key": f"NSE_FO|{token + 100}|{expiry:%d-%m-%Y}", "weekly": False}
        world.fake.expired(str(NIFTY["instrument_key"]), expiry, [{**weekly, "expiry": str(expiry)}, monthly])
        world.fake.listing(key, expiry - timedelta(days=40), expiry)
    world.sync()
    asked = [path for path in world.fake.requests() if path.startswith("/v2/expired-instruments/historical-candle")]
    assert asked == [
        f"/v2/expired-instruments/historical-candle/NSE_FO|{token}|{expiry:%d-%m-%Y}/1minute/{expiry}"
        f"/{expiry - timedelta(days=7)}"
        for expiry, token in ((old, 502), (new, 501))
    ]
    assert world.query("select expiry_date, completed_at is not null from staging.upstox_expiries order by 1") == [
        (old, True),
        (new, True),
    ]
    parts = next(each["parts"] for each in world.status()["segments"] if each["segment"] == "fo_expired")
    assert [(part["underlying"], part["expiry_date"], part["instruments"]) for part in parts] == [
        ("NIFTY", str(old), 1),
        ("NIFTY", str(new), 1),
    ]
    assert all(part["minutes"] >= 12 for part in parts)
    assert SENSEX["instrument_key"] in world.query("select string_agg(part, ' ') from staging.upstox_parts")[0][0]
