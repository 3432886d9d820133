"""From the terminal to the candle tables: fifteen collectors write one file, and the pipeline reads it."""

from __future__ import annotations

import os
from contextlib import ExitStack
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import pytest

from tests.support.collector import SYMBOLS
from tests.support.confluence_oracle import Dialect, verdict
from tests.support.mql5.checks import check
from tests.support.mql5.expected import Row
from tests.support.mql5.terminal import TIMEOUT, Terminal
from tests.support.services import NO_TESTS, service
from tests.support.world import World

pytestmark = pytest.mark.only_on("embedded")

SECONDS = int(os.environ.get("COLLECTOR_SECONDS", "12"))
"""How long the fifteen terminals write; 60 for the whole test."""

SPEED = 60  # a minute of the terminals' clock a second, so two rounds
START = 1_736_330_400  # 2025-01-08 10:00 UTC
HISTORY = 450
SUFFIXES = ("", "m", ".pro", ".i", ".raw", ".std", ".e", ".z", ".cash")
QUOTES = {
    **dict.fromkeys(("AUDJPY", "GBPJPY", "USDJPY", "XAGUSD"), "3:151.3"),
    **dict.fromkeys(("BTCUSD", "ETHUSD", "NDX100", "US30", "XAUUSD"), "2:2640"),
}
"""Digits and level; of all other symbols 5:1.085."""


def terminal_of(directory: Path, program: Path, place: int) -> Terminal:
    """The terminal of one symbol, whose broker has a suffix; it writes where all write."""
    table = SYMBOLS[place]
    scenario = {
        "symbols": f"{table}{SUFFIXES[place % len(SUFFIXES)]}:{QUOTES.get(table, '5:1.085')}",
        "offsets": "0:120",
        "start": START,
        "stop": START + SECONDS * SPEED,
        "begin": START - HISTORY * 300,
        "speed": SPEED,
    }
    return Terminal(directory / table, program, scenario, directory / "common")


def has_rows(world: World, table: str) -> bool:
    return world.query(f"select count(*) > {HISTORY} from {table}") == [(True,)]


def test_fifteen_terminals_write_while_the_service_reads(world: World, program: Path) -> None:
    terminals = [terminal_of(world.directory, program, place) for place in range(len(SYMBOLS))]
    world.settings["SQLITE_PATH"] = str(terminals[0].file)
    with ExitStack() as stack:
        writers = [stack.enter_context(each.start()) for each in terminals]
        running = stack.enter_context(service(world, *NO_TESTS))
        journals = [writer.communicate(timeout=TIMEOUT)[0] for writer in writers]
        running.await_that(partial(has_rows, world, "xauusd_m5"), "the last symbol's bars")
        assert running.end() == 0
        log = running.log
    for journal, writer in zip(journals, writers, strict=True):
        assert writer.returncode == 0, journal
        assert journal.endswith("stopped\n"), journal
        assert "error" not in journal, journal
    # what the market had is in the file, and what is in the file is in the tables
    expected: dict[str, dict[int, Row]] = {}
    for terminal, table in zip(terminals, SYMBOLS, strict=True):
        name = str(terminal.scenario["symbols"]).partition(":")[0]
        expected |= check(terminal, {name: table})
        assert len(expected[table]) >= HISTORY + SECONDS * SPEED // 300
    world.sync()
    world.check(terminals[0].file)
    assert world.query("select count(*) from ops.rejected_bars") == [(0,)]
    assert world.query("select count(*) from ops.sync_runs where rows_rejected > 0 or status not in ('done')") == [(0,)]
    assert log.count("changed, 0 rejected") > 1
    # the signals read what the collector writes, and a point's time is that of its bar
    seen = set()
    for table, rows in expected.items():
        newest = max(rows)
        ((signals, peaks),) = world.query(
            "select signals, fractals -> 'peaks' from signals.timeframe_signals(%s, %s)"
            f" cross join (select fractals from {table.lower()}_m5 order by timestamp desc limit 1) as candle"
            " where timeframe = 'M5'",
            table.lower(),
            datetime.fromtimestamp(newest, timezone.utc),
        )
        called_for = verdict(rows[newest], Dialect()).signals
        assert {each["signal"]: each["direction"] for each in signals} == {
            signal: direction for signal, (direction, _) in called_for.items()
        }
        assert peaks == rows[newest]["fractals"]["peaks"]
        seen |= set(called_for)
    assert seen == {"tema", "hrma", "smma", "momentum_candles", "keltner_channels", "zigzag"}
