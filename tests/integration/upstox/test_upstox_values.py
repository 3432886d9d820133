"""What Upstox sends that is wrong, changes, or ends: a clear line or a reject, and nothing invented."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support.fake_upstox import PAGE_1010
from tests.support.upstox_rows import IST, contract, share
from tests.support.upstox_world import NIFTY, RELIANCE, SENSEX, TCS, UpstoxWorld, fill, months_ago, today

pytestmark = pytest.mark.only_on("embedded")


def day_of(row: tuple[Any, ...]) -> Any:
    """The day of a candle in India."""
    return row[0].astimezone(IST).date()


def weekday(day: Any) -> Any:
    """This day, or the Monday after it."""
    return day + timedelta(days=(7 - day.weekday()) % 7) if day.weekday() > 4 else day


def test_rows_that_cannot_be_used_are_rejects_and_the_others_land(upstox_world: UpstoxWorld) -> None:
    world = upstox_world
    until = today() + timedelta(days=20)
    fill(world.fake, months_ago(1))
    good = contract(11, RELIANCE, until, "FUT")
    no_lot = {name: value for name, value in contract(12, NIFTY, until, "CE", 100.0).items() if "lot" not in name}
    only_minimum = {
        name: value for name, value in contract(13, NIFTY, until, "PE", 100.0).items() if name != "lot_size"
    }
    rows: list[Any] = [
        *(NIFTY, RELIANCE, good, no_lot, only_minimum),
        {**RELIANCE, "instrument_key": "XYZ_EQ|1", "segment": "XYZ_EQ", "trading_symbol": "ODD"},
        {**contract(14, NIFTY, until, "CE", 100.0), "expiry": "soon"},
        {**contract(15, NIFTY, until, "CE", 0.0)},
        {**contract(16, NIFTY, until, "CE", 50.0), "trading_symbol": "011NSETEST"},
        {**contract(17, {**NIFTY, "trading_symbol": "DUMMYIDX"}, until, "CE", 50.0)},
        {"segment": "NSE_EQ"},
        {**TCS, "surprise": {"new": 1}},
    ]
    world.fake.master("NSE", rows)
    world.fake.listing("NSE_FO|13", months_ago(1))
    world.sync()
    found = world.query(
        "select instrument_key, field, reason from ops.rejected_instruments order by field, instrument_key"
    )
    assert [(key if "sha256" not in key else "?", field, reason) for key, field, reason in found] == [
        ("NSE_FO|14", "expiry", "no date"),
        ("?", "instrument_key", "no instrument_key"),
        ("NSE_FO|12", "lot_size", "a contract without lot_size and minimum_lot"),
        ("XYZ_EQ|1", "segment", "an unknown segment"),
        ("NSE_FO|15", "strike_price", "an option without a strike"),
    ]
    assert world.query("select instrument_key from market.instrument_master order by 1") == [
        ("BSE_INDEX|SENSEX",),
        (RELIANCE["instrument_key"],),
        (TCS["instrument_key"],),
        ("NSE_FO|11",),
        ("NSE_FO|13",),
        (NIFTY["instrument_key"],),
    ]
    assert world.query(
        "select lot_size from market.option_master join market.instrument_master using (instrument_id)"
        " where instrument_key = 'NSE_FO|13'"
    ) == [(75,)]
    assert world.query(
        f"select payload -> 'surprise' from staging.upstox_instruments where instrument_key = '{TCS['instrument_key']}'"
    ) == [({"new": 1},)]
    assert world.query("select tick_size from market.instrument_master where trading_symbol = 'TCS'")[0][0] * 100 == 5
    # the expiry is the day in India
    assert world.query("select distinct expiry_date from market.option_master") == [(until,)]


def test_keys_and_lots_that_change_keep_their_instrument(upstox_world: UpstoxWorld) -> None:
    world = upstox_world
    until, again = today() + timedelta(days=10), today() + timedelta(days=40)
    option = contract(21, NIFTY, until, "CE", 100.0, lot_size=50)
    world.fake.master("NSE", [NIFTY, RELIANCE, TCS, option])
    world.fake.master("BSE", [SENSEX])
    world.sync("--segment", "indices_nse", code=1)  # the index has no candles here: its requests are refused
    ids = dict(world.query("select trading_symbol, instrument_id from market.instrument_master"))
    split = share("RELIANCE", "INE002A01999")
    renamed = {**TCS, "trading_symbol": "TATACS", "name": "TATA CS LIMITED"}
    world.fake.master(
        "NSE", [NIFTY, split, renamed, {**option, "lot_size": 75}, contract(22, NIFTY, again, "CE", 100.0)]
    )
    printed = world.sync("--segment", "indices_nse", "--force", code=1)
    assert (
        "NSE_EQ|INE002A01999 took over the candles of NSE_EQ|INE002A01018: look whether it is the same share" in printed
    )
    found = dict(world.query("select trading_symbol, instrument_id from market.instrument_master"))
    assert found["RELIANCE"] == ids["RELIANCE"]
    assert found["TATACS"] == ids["TCS"]
    assert "TCS" not in found
    assert world.query(
        "select instrument_key, first_seen, last_seen, linked_from from market.instrument_keys"
        f" where instrument_id = {ids['RELIANCE']} order by last_seen nulls last"
    ) == [
        ("NSE_EQ|INE002A01018", today(), today(), None),
        ("NSE_EQ|INE002A01999", today(), None, "NSE_EQ|INE002A01018"),
    ]
    # a token that is used again after the expiry is another contract
    world.fake.master("NSE", [NIFTY, split, renamed, contract(21, NIFTY, again, "PE", 300.0)])
    world.sync("--segment", "indices_nse", "--force", code=1)
    assert world.query(
        "select expiry_date, lot_size, strike, is_listed from market.option_master"
        " join market.instrument_keys using (instrument_id, expiry_date) where instrument_key = 'NSE_FO|21' order by 1"
    ) == [(until, 75, 100, False), (again, 75, 300, True)]


def test_holidays_special_sessions_and_late_listings(upstox_world: UpstoxWorld) -> None:
    world = upstox_world
    first = months_ago(3)
    holiday = weekday(first + timedelta(days=8))
    saturday = first + timedelta(days=(5 - first.weekday()) % 7 + 14)
    listed = weekday(months_ago(1) + timedelta(days=10))
    fill(world.fake, first)
    world.fake.sessions(holidays=[holiday], special=[saturday])
    world.fake.listing(str(TCS["instrument_key"]), listed)
    expired = contract(31, NIFTY, today() - timedelta(days=1), "CE", 100.0)
    world.fake.master(
        "NSE",
        [
            NIFTY,
            RELIANCE,
            TCS,
            expired,
            contract(32, TCS, today() + timedelta(days=9), "FUT"),
            contract(33, RELIANCE, today() + timedelta(days=9), "FUT"),
        ],
    )
    world.sync()
    asked = world.candle_requests()
    sessions = {day for (day,) in world.query("select day from market.sessions where exchange = 'NSE'")}
    assert saturday in sessions
    assert holiday not in sessions
    assert {row[0].astimezone(IST).hour for row in world.candles("RELIANCE", "1m") if day_of(row) == saturday} == {18}
    assert day_of(world.candles("TCS", "1d")[0]) == listed
    months = [path for path in asked if "INE467B01029/minutes/1" in path]
    assert len(months) == 2  # the month of its listing and this one; none before
    assert not [path for path in asked if "NSE_FO|31" in path]
    assert world.query("select * from market.gaps") == []


def test_a_day_without_minutes_is_asked_for_and_then_settled(upstox_world: UpstoxWorld) -> None:
    world = upstox_world
    fill(world.fake, months_ago(2))
    quiet = weekday(months_ago(2) + timedelta(days=3))
    world.fake.listing(str(RELIANCE["instrument_key"]), months_ago(2), without=[str(quiet)])
    world.sync()
    gap = world.query("select day, asked_at is not null, is_settled from market.gaps")
    assert gap == [(quiet, True, True)]
    world.fake.requests()
    world.sync("--force")
    assert not [path for path in world.fake.requests() if "minutes" in path and str(quiet)[:7] in path]


def test_history_overwrites_what_intraday_said(upstox_world: UpstoxWorld) -> None:
    world = upstox_world
    fill(world.fake, months_ago(1))
    newest = max(day for day in (today() - timedelta(days=n) for n in range(1, 4)) if day.weekday() < 5)
    world.fake.listing(str(RELIANCE["instrument_key"]), months_ago(1), newest - timedelta(days=1))
    world.sync()
    opened = datetime(newest.year, newest.month, newest.day, 9, 15, tzinfo=IST)
    # the newest day as intraday had it while it was today: other prices, and a minute that history lacks
    world.execute(
        "insert into staging.upstox_windows select instrument_id, '1m', 'intraday', "
        f"'{newest}', '{newest}', instrument_key, array['{opened}', '{opened + timedelta(minutes=9)}']::timestamptz[],"
        f" '{{1,1}}', '{{2,2}}', '{{1,1}}', '{{2,2}}', '{{5,5}}', '{{0,0}}', array['{newest}'::date], '{opened}',"
        f" '{opened + timedelta(minutes=9)}', clock_timestamp(), false, clock_timestamp()"
        " from market.instrument_master where trading_symbol = 'RELIANCE'"
    )
    world.execute("select refresh.candle_data()")
    assert [row[1] for row in world.candles("RELIANCE", "1m") if day_of(row) == newest] == [1.0, 1.0]
    world.fake.listing(str(RELIANCE["instrument_key"]), months_ago(1))
    world.sync("--force", "--segment", "equity")
    others = [row for row in world.candles("TCS", "1m") if day_of(row) == newest]
    assert len(others) == 3
    assert [row for row in world.candles("RELIANCE", "1m") if day_of(row) == newest] == others
    assert world.query("select count(*) from staging.upstox_windows where kind = 'intraday'") == [(0,)]


def test_today_is_read_while_the_calendar_and_the_clock_say_so(upstox_world: UpstoxWorld) -> None:
    world = upstox_world
    fill(world.fake, months_ago(1))
    monday = today() + timedelta(days=7 - today().weekday())
    saturday = monday + timedelta(days=5)
    exchanges = ["NSE", "BSE"]
    closed = {"date": str(monday + timedelta(days=1)), "closed_exchanges": exchanges, "open_exchanges": []}
    special = {
        "date": str(saturday),
        "closed_exchanges": [],
        "open_exchanges": [{"exchange": "NSE", "start_time": 1, "end_time": 2}],
    }
    no_holiday = {"date": str(monday + timedelta(days=2)), "closed_exchanges": [], "open_exchanges": []}
    world.fake.calendar([closed, special, no_holiday])
    world.sync()

    def read_at(day: Any, clock: str) -> list[str]:
        return [
            subject
            for (subject,) in world.query(
                "select subject from market.upstox_calls(%s, array['equity', 'indices_bse'], array['NSE'], '1 second',"
                " '7 days') where kind = 'intraday' order by 1",
                f"{day} {clock}+05:30",
            )
        ]

    everything = ["RELIANCE", "SENSEX", "TCS"]
    assert read_at(monday, "09:14") == []
    assert read_at(monday, "09:15") == everything
    assert read_at(monday + timedelta(days=1), "12:00") == []
    assert read_at(monday + timedelta(days=2), "12:00") == everything
    assert read_at(saturday, "19:00") == ["RELIANCE", "TCS"]
    assert read_at(saturday + timedelta(days=1), "12:00") == []


def test_adjusted_history_is_read_again_as_a_whole(upstox_world: UpstoxWorld) -> None:
    world = upstox_world
    fill(world.fake, months_ago(2))
    world.sync()
    world.fake.requests()
    before, others = world.candles("RELIANCE", "1m"), world.candles("TCS", "1m")
    split = today() - timedelta(days=10)
    world.fake.adjust(str(RELIANCE["instrument_key"]), split, 0.5)
    printed = world.sync("--force", "--segment", "equity")
    assert "RELIANCE: history was adjusted, so all of it is read again" in printed
    minutes = [path for path in world.candle_requests() if "/minutes/" in path]
    assert len(minutes) == 3
    assert all("INE002A01018" in path for path in minutes)
    after = world.candles("RELIANCE", "1m")
    assert len(after) == len(before)
    for old, new in zip(before, after, strict=True):
        share_of_old = 0.5 if day_of(old) < split else 1.0
        base = old[1] - old[6]
        assert new[1] == base * share_of_old + old[6]
    assert world.candles("TCS", "1m") == others
    assert world.query("select count(*) from staging.upstox_windows where is_stale") == [(0,)]


def test_a_token_that_ended_stops_the_run_and_keeps_what_landed(upstox_world: UpstoxWorld) -> None:
    world = upstox_world
    fill(world.fake, months_ago(1))
    world.settings["UPSTOX_ACCESS_TOKEN"] = "another"
    printed = world.sync(code=2)
    lines = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert lines == [
        "error: Upstox does not accept UPSTOX_ACCESS_TOKEN (UDAPI100050): it is wrong or has ended. An Analytics Token"
        " is valid for a year, an OAuth token until 03:30 IST"
    ]
    assert world.query("select status from ops.sync_runs where source = 'upstox' order by run_id desc limit 1") == [
        ("failed",)
    ]
    assert world.query("select count(*) from staging.upstox_instruments") == [(6,)]


def test_endpoints_that_refuse_us_fail_alone(upstox_world: UpstoxWorld) -> None:
    world = upstox_world
    fill(world.fake, months_ago(1))
    world.fake.refuse("/v2/market/holidays", 401, "UDAPI100067")
    world.fake.refuse("/v2/expired-instruments", 403, "UDAPI1149")
    printed = world.sync(code=1)
    assert "calendar requests: Upstox refuses this kind of token" in printed
    assert "expiries requests: Upstox keeps this for accounts with a paid plan (Upstox Plus) (UDAPI1149" in printed
    # masters, calendar, days, minutes, expiries: once each; today's minutes too, for without a calendar it is a session
    assert len([path for path in world.fake.requests() if "intraday" not in path]) == 2 + 1 + 12 + 8 + 1
    assert world.candles("RELIANCE", "1m")
    completed = {each["segment"]: each["completed_at"] for each in world.status()["segments"]}
    assert completed["equity"] is not None
    assert completed["fo_expired"] is None


def test_the_firewall_and_the_rate_limit(upstox_world: UpstoxWorld) -> None:
    world = upstox_world
    fill(world.fake, months_ago(1))
    world.fake.next({}, {}, {}, {"status": 403, "body": PAGE_1010})
    assert "error: Upstox's firewall blocks this program (HTTP 403" in world.sync(code=2)
    assert len(world.fake.requests()) == 4  # no second attempt
    error = '{"status": "error", "errors": [{"error_code": "UDAPI10005", "message": "Too Many Request Sent"}]}'
    world.fake.next({"status": 429, "body": error})
    assert "done in" in world.sync()
    assert world.candles("TCS", "1m")


def test_a_candle_that_cannot_be_used_is_a_reject_until_it_can(upstox_world: UpstoxWorld) -> None:
    world = upstox_world
    fill(world.fake, months_ago(1))
    world.sync()
    before = world.tables()
    good = [f"{months_ago(1)}T00:00:00+05:30", 1, 2, 1, 1.5, 0, 0]
    bad = [f"{months_ago(1) + timedelta(days=1)}T00:00:00+05:30", 9, 2, 1, 1, 1, 0]
    reply = json.dumps({"status": "success", "data": {"candles": [bad, good, None]}})
    # the masters and the calendar, then the days of the first index
    world.fake.next({}, {}, {}, {"status": 200, "body": reply})
    assert "2 rejected" in world.sync("--force", "--segment", "indices_nse")
    found = world.query("select entity, field, reason from ops.rejected_instruments order by reason")
    assert found == [
        (f"{NIFTY['instrument_key']} 1d history", "candle", "a price lies outside high and low"),
        (f"{NIFTY['instrument_key']} 1d history", "candle", "no array with a time and its zone"),
    ]
    assert world.candles("NIFTY", "1d")[0][1:5] == (1.0, 2.0, 1.0, 1.5)
    world.sync("--force", "--segment", "indices_nse")
    assert world.query("select * from ops.rejected_instruments") == []
    assert world.tables() == before


def test_the_contracts_of_a_chosen_share_are_read_and_its_time_among_the_underlyings_is_known(
    upstox_world: UpstoxWorld,
) -> None:
    world = upstox_world
    until = today() + timedelta(days=30)
    fill(world.fake, months_ago(0))
    world.fake.listing("NSE_FO|1000", months_ago(0))
    world.sync()
    segments = ("--segment", "equity", "--segment", "fo_current", "--segment", "fo_historical")
    assert not [path for path in world.candle_requests() if "NSE_FO" in path]

    world.execute("insert into market.market_underlyings values ('RELIANCE')")
    plan = json.loads(world.call("upstox", "sync", *segments, "--force", "--dry-run", "--json", code=0).stdout)
    world.sync(*segments, "--force")
    assert {path.split("/")[3] for path in world.candle_requests() if "NSE_FO" in path} == {"NSE_FO|1000"}
    planned = [call for call in plan["calls"] if "FUT" in call]
    assert planned
    assert all("RELIANCE 0 FUT" in call for call in planned)
    of_contracts = [
        part for each in world.status()["segments"] if each["segment"] == "fo_current" for part in each["parts"]
    ]
    assert [(part["underlying"], part["expiry_date"], part["without_candles"]) for part in of_contracts] == [
        ("RELIANCE", str(until), 0)
    ]

    def underlyings() -> list[tuple[Any, ...]]:
        return world.query("select instrument_key, first_seen, last_seen from market.fo_underlyings order by 1")

    reliance, tcs = RELIANCE["instrument_key"], TCS["instrument_key"]
    assert underlyings() == [(reliance, today(), None), (tcs, today(), None)]
    world.fake.master("NSE", [NIFTY, RELIANCE, TCS, contract(1000, RELIANCE, until, "FUT")])
    world.execute(
        "update staging.upstox_parts set completed_at = completed_at - interval '1 day' where part like 'master%'"
    )
    world.sync(*segments, "--force")
    assert underlyings() == [(reliance, today(), None), (tcs, today(), today())]
    shares = next(each["parts"] for each in world.status()["segments"] if each["segment"] == "equity")
    assert [part["instruments"] for part in shares] == [1]
