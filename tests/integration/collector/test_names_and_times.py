"""Which symbol a broker's name stands for, and which instant a server time is."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from tests.integration.collector.conftest import WEDNESDAY
from tests.support.mql5.checks import check, query
from tests.support.mql5.terminal import Terminal

NAMES = {
    **dict.fromkeys(("EURUSD", "eurusd", "EURUSD.i", "EURUSD.pro", "EURUSDm", "EURUSD.raw", "EURUSD.std"), "EURUSD"),
    **dict.fromkeys(("EURUSD.e", "EURUSD.z", "EURUSD_i", "EURUSD-ECN", "EURUSDc", "EURUSDmicro", "EURUSD+"), "EURUSD"),
    **dict.fromkeys(("XAUUSDm", "XAUUSD.pro", "xauusd.i", "XAUUSD#"), "XAUUSD"),
    **dict.fromkeys(("US30", "US30m", "US30.cash", "US30.raw"), "US30"),
    **dict.fromkeys(("NDX100", "NDX100.z", "NDX100m"), "NDX100"),
    **dict.fromkeys(("BTCUSD", "BTCUSD.i", "BTCUSDT"), "BTCUSD"),
    **dict.fromkeys(("GBPJPYpro", "USDJPY.std", "AUDJPY.e"), ""),
    # none of the project's: another symbol, a suffix alone, an m or a dot in the middle, a letter before
    **dict.fromkeys(("US300", "US3000", "US500", "USTEC", "EURGBP", "EURGBP.pro", "AMZNm", "m", ".pro", ""), ""),
    **dict.fromkeys(("EURmUSD", "EUR.USD", "EUR/USD", "mEURUSD", "#EURUSD", "EURUS", "NDX1000"), ""),
    "GBPJPYpro": "GBPJPY",
    "USDJPY.std": "USDJPY",
    "AUDJPY.e": "AUDJPY",
}


def test_a_broker_s_name_is_one_of_the_project_s_symbols_or_none(terminal: Terminal) -> None:
    assert len(NAMES) > 40
    assert dict(zip(NAMES, terminal.ask("symbols", list(NAMES)), strict=True)) == NAMES


def test_of_several_names_for_a_symbol_the_exact_one_counts(terminal: Terminal) -> None:
    listed = "EURUSD.pro:5:1.1,EURGBP:5:0.8,EURUSD:5:1.085,EURUSDm:5:1.2,US30.cash:1:41000"
    journal = terminal.run(symbols=listed, stop=WEDNESDAY + 5)
    assert "EURUSD: EURUSD.pro is left out for EURUSD\n" in journal
    assert "EURUSD: EURUSDm is left out for EURUSD\n" in journal
    assert "EURGBP" not in journal  # what the broker has beside is no news
    check(terminal, {"EURUSD": "EURUSD", "US30.cash": "US30"})
    # asked for by name
    terminal.file.unlink()
    journal = terminal.run(symbols=listed, stop=WEDNESDAY + 5, input_SymbolList=" EURUSDm , EURGBP,")
    assert "EURGBP: none of the project's symbols, so it is not collected" in journal
    check(terminal, {"EURUSDm": "EURUSD"})
    assert query(terminal, "select name from sqlite_master where type = 'table'") == [("EURUSD",)]


NEW_YORK = ZoneInfo("America/New_York")
HOUR = timedelta(hours=1)


def server_offset(utc: datetime) -> timedelta:
    """Of a server whose midnight is 17:00 in New York."""
    offset = utc.astimezone(NEW_YORK).utcoffset()
    assert offset is not None
    return offset + 7 * HOUR


def transitions(first: int, last: int) -> str:
    """The offsets of that server as the stand-in takes them: from when, and minutes."""
    hours = [datetime(first, 1, 1, tzinfo=timezone.utc) + hour * HOUR for hour in range((last - first + 1) * 8784)]
    found = ["0:120"]
    for before, after in pairwise(hours):
        if server_offset(before) != server_offset(after):
            found.append(f"{int(after.timestamp())}:{int(server_offset(after) / timedelta(minutes=1))}")
    return ",".join(found)


@pytest.mark.parametrize("now", ["2026-01-15 12:00", "2026-07-15 12:00"])
def test_past_bars_have_the_offset_of_their_own_season(terminal: Terminal, now: str) -> None:
    seen = datetime.fromisoformat(now).replace(tzinfo=timezone.utc)
    instants = [datetime(2023, 1, 1, tzinfo=timezone.utc) + hour * HOUR for hour in range(26_000)]
    expected: dict[int, int] = {}
    for utc in instants:  # the later of the two hours that autumn calls the same
        expected[int((utc + server_offset(utc)).timestamp())] = int(utc.timestamp())
    found = terminal.ask("utc", list(expected), start=int(seen.timestamp()), offsets=transitions(2022, 2027))
    assert [int(time) for time in found] == list(expected.values())


def test_the_hour_that_comes_twice_is_the_one_that_has_come(terminal: Terminal) -> None:
    change = datetime(2025, 11, 2, 6, 0, tzinfo=timezone.utc)  # 02:00 in New York becomes 01:00
    for now, expected in ((change - HOUR / 2, change - HOUR / 2), (change + HOUR / 2, change + HOUR / 2)):
        server = int((now + server_offset(now)).timestamp())
        settings = {"start": int(now.timestamp()), "offsets": transitions(2025, 2025)}
        assert terminal.ask("utc", [server], **settings) == [str(int(expected.timestamp()))]


@pytest.mark.parametrize(
    ("offset", "setting", "subtracted"),
    [
        (0, "auto", 0),  # a server on UTC
        (180, "auto", 180),  # UTC+3 in winter: does not close with New York
        (-300, "auto", -300),
        (330, "auto", 330),
        (120, "180", 180),  # what the input says counts
        (0, "-60", -60),
    ],
)
def test_an_offset_that_follows_no_season_holds_for_all_bars(
    terminal: Terminal, offset: int, setting: str, subtracted: int
) -> None:
    # a clock that is some minutes off changes nothing
    settings = {"offsets": f"0:{offset}", "input.ServerUtcOffset": setting, "clock_error": 400}
    july = WEDNESDAY + 180 * 86_400
    assert terminal.ask("utc", [WEDNESDAY, july], **settings) == [
        str(time - subtracted * 60) for time in (WEDNESDAY, july)
    ]


@pytest.mark.parametrize(
    ("start", "weekends"),
    [
        ("2025-03-09 06:00", "open"),  # the clocks go forward at 07:00, while the service runs
        ("2025-03-10 00:00", "closed"),  # the weekend before had the change: history has both seasons
        ("2025-11-03 00:00", "closed"),
    ],
)
def test_a_change_of_the_clocks_moves_no_bar(terminal: Terminal, start: str, weekends: str) -> None:
    begin = int(datetime.fromisoformat(start).replace(tzinfo=timezone.utc).timestamp())
    settings = {"offsets": transitions(2025, 2025), "weekends": weekends, "begin": begin - 1000 * 300}
    journal = terminal.run(start=begin, stop=begin + 2 * 3600, symbols="EURUSD:5:1.085", input_IntervalSeconds=120,
                           **settings)  # fmt: skip
    expected = check(terminal, {"EURUSD": "EURUSD"})["EURUSD"]
    assert len(expected) > 400
    assert journal.count("server time is UTC") == 1


def test_new_bars_are_right_between_new_york_s_change_and_europe_s(terminal: Terminal) -> None:
    start = int(datetime(2025, 3, 19, tzinfo=timezone.utc).timestamp())  # New York has changed, Athens has not
    terminal.run(start=start, stop=start + 600, begin=start - 600 * 300)
    check(terminal)
