"""A mistake made in the collector on purpose fails the check that the other tests rely on."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.mql5.checks import check, query
from tests.support.mql5.terminal import INDICATORS, Change, Terminal, compiled

SERVICE, DATABASE, BUFFERS, TIME = "DataCollector.mq5", "Database.mqh", "IndicatorBuffers.mqh", "ServerTime.mqh"


def instead(old: str, new: str) -> Change:
    """Replace a text that occurs once."""

    def change(text: str) -> str:
        assert text.count(old) == 1, old
        return text.replace(old, new)

    return change


def after(call: str, statement: str) -> Change:
    """Put a statement behind the one that begins a call."""

    def change(text: str) -> str:
        assert text.count(call) == 1, call
        end = text.index(";", text.index(call)) + 1
        return text[:end] + statement + text[end:]

    return change


def sql_places(text: str) -> str:
    """Every parameter bound at SQL's place, which counts from 1."""
    shifted = re.sub(r"DatabaseBind\(request, (\d+)", lambda match: f"DatabaseBind(request, {int(match[1]) + 1}", text)
    return shifted.replace("14 + i", "15 + i")


MISTAKES: dict[str, tuple[str, Change]] = {
    "wrong buffer": (SERVICE, instead("AverageTema = 3;", "AverageTema = 1;")),
    "peaks and bottoms swapped": (SERVICE, instead('FractalPeaks = "0,2"', 'FractalPeaks = "1,3"')),
    "forgotten reset": (DATABASE, instead(" && DatabaseReset(request)", "")),
    "oldest and newest swapped": (SERVICE, after("int copied = CopyRates(", "ArraySetAsSeries(bars.rates, true);")),
    "newest value first": (BUFFERS, after("CopyBuffer(", "ArraySetAsSeries(groups[g].copied[b].values, true);")),
    "places counted from 1": (DATABASE, sql_places),
    "two parameters swapped": (DATABASE, instead("request, 2, row.high", "request, 2, row.low")),
    "a value left bound": (
        DATABASE,
        instead("DatabaseBind(request, 10, row.tema)", "(row.tema == 0.0 || DatabaseBind(request, 10, row.tema))"),
    ),
    "empty values written": (BUFFERS, instead("return HasValue(value) ? value : 0.0;", "return value;")),
    "EMPTY_VALUE as text": (BUFFERS, instead(" && MathAbs(value) < EMPTY_VALUE", "")),
    "server time stored": (SERVICE, instead("g_time.ToUtc(bars.rates[i].time)", "bars.rates[i].time")),
    "one season for all bars": (TIME, instead("minutes == (is_summer ? 180 : 120)", "is_summer && minutes < 0")),
    "the forming bar kept": (DATABASE, instead("close = excluded.close", "close = close")),
    "begin behind the last bar": (SERVICE, instead("bars.utc[first - 1] >= since", "bars.utc[first - 1] > since")),
    "a stop that is not seen": (
        SERVICE,
        instead("while(!IsStopped() && GetTickCount64() < tick)", "while(GetTickCount64() < tick)"),
    ),
    "late values emptied": (DATABASE, instead("case when ?20 then excluded.zigzag else zigzag end", "excluded.zigzag")),
}

MONDAY = 1_741_572_000  # 2025-03-10 02:00 UTC; on Sunday New York has put its clocks forward
TABLES = {"EURUSD": "EURUSD"}


def whole_check(terminal: Terminal) -> None:
    """Bars of both seasons, a pause, and rounds without the zigzag."""
    terminal.scenario |= {
        "symbols": "EURUSD:5:1.085",
        "weekends": "closed",
        "offsets": "0:120,1741503600:180",
        "begin": MONDAY - 900 * 300,
    }
    terminal.run(start=MONDAY, stop=MONDAY + 400)
    later = MONDAY + 3000
    terminal.run(start=later, stop=later + 100)
    check(terminal, TABLES)
    last = later + 600
    terminal.run(start=last, stop=last + 40, failing=INDICATORS["zigzag"], failing_until=last + 60)
    known = dict(query(terminal, f"select timestamp, zigzag is not null from EURUSD where timestamp >= {later}"))
    assert known == {later: 1, later + 300: 0, later + 600: 0}


def test_the_check_passes_without_a_mistake(terminal: Terminal) -> None:
    whole_check(terminal)


def test_a_parameter_that_cannot_be_bound_is_told(terminal_of: Callable[[Path], Terminal], directory: Path) -> None:
    terminal = terminal_of(compiled(directory, {DATABASE: sql_places}))
    journal = terminal.run()
    assert journal.count("EURUSD: nothing is written, error 5625; docs/collector.md says what the codes mean") == 1
    assert query(terminal, "select count(*) from EURUSD") == [(0,)]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_fails_the_check(terminal_of: Callable[[Path], Terminal], directory: Path, mistake: str) -> None:
    file, change = MISTAKES[mistake]
    terminal = terminal_of(compiled(directory, {file: change}))
    with pytest.raises(AssertionError):
        whole_check(terminal)
