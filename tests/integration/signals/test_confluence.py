"""Confluence against an oracle in plain Python, in each dialect; its score's vectors; what has no answer."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

import pytest

from tests.integration.signals.generated import MINUTES, START, fill, speak
from tests.support.confluence_oracle import COLUMNS, Dialect, Tables, Verdict, score
from tests.support.world import World

# bullish, bearish, the strengths of the nine timeframes, the score
VECTORS = [
    (9, 0, ["1.0"] * 9, "10.0"),
    (0, 0, [], "0.0"),
    (0, 0, ["0.3"] * 9, "1.5"),
    (5, 2, ["0.8"] * 5 + ["0.7"] * 2 + ["0.3"] * 2, "5.0"),
    (5, 0, ["0.8"] * 5, "5.0"),
    (4, 5, ["1"] * 9, "5.6"),
    (0, 0, ["0.09"], "0.1"),  # 0.05 exactly
    (0, 0, ["0.27"], "0.2"),  # 0.15 exactly: 0.1 where it is a binary float
]
DIALECTS: dict[str, tuple[dict[str, Any], Dialect]] = {
    "ours": ({}, Dialect()),
    "newest first": ({"index": "from_newest", "list": "newest_first"}, Dialect(True, True)),
    "oldest of 100": ({"index_bars": 100, "list": "newest_first"}, Dialect(False, True)),
}


@pytest.fixture
def generated(world: World) -> World:
    """Two symbols of many rows; EURUSD has no H8 candle, and others begin late."""
    fill(world, "eurusd", tuple(timeframe for timeframe in MINUTES if timeframe != "H8"), 900)
    fill(world, "usdjpy", ("H1",), 50, seed=2)
    return world


def confluence(world: World, symbol: str, instants: list[datetime]) -> list[dict[str, Any] | None]:
    """The answers, numbers as Decimal."""
    rows = world.query(
        "select signals.confluence(%s, at)::text from unnest(%s::timestamptz[]) with ordinality as asked (at, place)"
        " order by place",
        symbol,
        instants,
    )
    return [answer and json.loads(answer, parse_float=Decimal) for (answer,) in rows]


def rounded(strength: Fraction) -> Decimal:
    return (Decimal(strength.numerator) / Decimal(strength.denominator)).quantize(Decimal("0.0001"), ROUND_HALF_UP)


def breakdown(verdict: Verdict | None) -> dict[str, Any]:
    if verdict is None:
        return {"trend": None, "strength": 0, "signals": []}
    return {
        "trend": verdict.trend,
        "strength": rounded(verdict.strength),
        "signals": [
            {"signal": signal, "direction": direction, "weight": Decimal(str(float(weight)))}
            for signal, (direction, weight) in verdict.signals.items()
        ],
    }


@pytest.mark.parametrize("dialect", DIALECTS)
def test_confluence_equals_the_oracle(generated: World, dialect: str) -> None:
    world = generated
    changes, read = DIALECTS[dialect]
    if changes:
        speak(world, **changes)
    rng = random.Random(3)
    instants = [START + timedelta(seconds=rng.randint(-86_400, 15 * 86_400)) for _ in range(1000)]
    answers = confluence(world, "eurusd", instants)
    with world.connection() as connection:
        tables = Tables(connection, "eurusd", read)

    assert [answer is None for answer in answers] == [not tables.newest(at) for at in instants]
    seen = set()
    for at, answer in zip(instants, answers, strict=True):
        if answer is None:
            continue
        verdicts, rows = tables.verdicts(at), tables.newest(at)
        trends = [each.trend for each in verdicts.values()]
        seen |= {(each.trend, *each.signals.values()) for each in verdicts.values()}
        assert answer["breakdown"] == {timeframe: breakdown(verdicts.get(timeframe)) for timeframe in MINUTES}, at
        assert answer["signals"] == {way: trends.count(way) for way in ("bullish", "bearish", "neutral")}
        assert answer["confluence_score"] == score(verdicts), at
        assert (answer["symbol"], answer["max_score"]) == ("EURUSD", 10)
        assert datetime.fromisoformat(answer["timestamp"].replace("Z", "+00:00")) == at
        nothing = dict.fromkeys(COLUMNS)
        assert answer["all_117_indicators"] == {timeframe: rows.get(timeframe, nothing) for timeframe in MINUTES}
    # the data has all trends, and many ways to come to them
    assert {each[0] for each in seen} == {"bullish", "bearish", "neutral"}
    assert len(seen) > 100


def test_history_equals_confluence_at_the_same_instants(generated: World) -> None:
    world = generated
    first, step = START - timedelta(hours=10), timedelta(minutes=97)
    history = world.query(
        "select * from signals.confluence_history('eurusd', %s, %s, %s)", first, START + timedelta(days=15), step
    )
    assert len(history) == (15 * 1440 + 600) // 97 + 1
    assert [row[0] for row in history] == [first + place * step for place in range(len(history))]
    answers = confluence(world, "eurusd", [row[0] for row in history])
    ways = ("bullish", "bearish", "neutral")
    expected = [
        (answer["confluence_score"], *(answer["signals"][way] for way in ways)) if answer else (None, 0, 0, 0)
        for answer in answers
    ]
    assert [row[1:] for row in history] == expected
    assert None in answers
    assert len({row[1] for row in history}) > 20


def test_the_score_of_the_vectors(world: World) -> None:
    scores = [
        world.query(
            "select signals.confluence_score(%s, %s, coalesce(sum(each::numeric), 0)) from unnest(%s::text[]) as each",
            bullish,
            bearish,
            strengths,
        )[0][0]
        for bullish, bearish, strengths, _ in VECTORS
    ]
    assert [str(found) for found in scores] == [expected for *_, expected in VECTORS]


def test_thirds_add_up_before_they_are_rounded(world: World) -> None:
    # 27 thirds of 0.01 are 0.09, which is a score of 0.05; their NUMERIC sum is a little less
    assert world.query(
        "select sum(third) < 0.09, signals.confluence_score(0, 0, sum(third))"
        " from (select 0.01::numeric / 3 as third from generate_series(1, 27)) as thirds"
    ) == [(True, Decimal("0.1"))]


def test_what_has_no_candle_has_no_answer(generated: World) -> None:
    world = generated
    assert confluence(world, "eurusd", [START - timedelta(days=3)]) == [None]
    assert confluence(world, "gbpusd", [START]) == [None]
    for symbol in ("nosuch", "EURUSD", "eurusd_m5; drop table eurusd_m5", ""):
        assert confluence(world, symbol, [START + timedelta(days=9)]) == [None]
        assert world.query("select * from signals.timeframe_signals(%s, now())", symbol) == []
        assert world.query("select * from signals.confluence_history(%s, now(), now(), '1 day')", symbol) == []


def test_a_timeframe_without_a_table_counts_as_one_without_a_candle(generated: World) -> None:
    world = generated
    before = confluence(world, "usdjpy", [START + timedelta(days=13)])
    world.execute("drop table usdjpy_d1 cascade")
    assert confluence(world, "usdjpy", [START + timedelta(days=13)]) == before
    assert before[0] is not None
    assert sum(before[0]["signals"].values()) == 1


def test_the_session_s_time_zone_changes_nothing(generated: World) -> None:
    world = generated
    # a day in New York that has 23 hours lies in between
    query = (
        "select array_agg(at at time zone 'UTC'), (select signals.confluence('eurusd', '2025-01-10 10:00+00')::text)"
        " from signals.confluence_history('eurusd', '2025-03-08 10:00+00', '2025-03-11 10:00+00', '1 day')"
    )
    found = []
    for zone in ("UTC", "America/New_York"):
        with world.connection() as connection, connection.cursor() as cursor:
            cursor.execute(f"set timezone = '{zone}'")
            cursor.execute(query)
            found += cursor.fetchall()
    assert found[0] == found[1]
    assert found[0][0] == [datetime(2025, 3, day, 10) for day in range(8, 12)]
