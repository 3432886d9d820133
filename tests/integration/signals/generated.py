"""Candles as collectors of several dialects write them, random but repeatable, straight into the candle tables."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from psycopg2.extras import Json, execute_values

from tests.support.confluence_oracle import COLUMNS
from tests.support.world import World

START = datetime(2025, 1, 6, tzinfo=timezone.utc)
MINUTES = {"M5": 5, "M15": 15, "M30": 30, "H1": 60, "H2": 120, "H4": 240, "H8": 480, "H12": 720, "D1": 1440}
WORDS = ("bullish", "Bearish", "strong bullish", "STRONG-BEARISH", "up", "down", "sideways", "", None)
JUNK: tuple[Any, ...] = (
    None,
    "text",
    7,
    True,
    {},
    [],
    [None],
    [[]],
    ["x", 3],
    {"peaks": "none"},
    {"peaks": {}, "bottoms": [1]},
)

OURS = {"index": "from_oldest", "index_bars": None, "list": "oldest_first", "bar_minutes": 5}


def speak(world: World, **changes: Any) -> None:
    """Build the functions for a collector whose dialect differs from ours in these keys."""
    done = world.dbt(
        *("build", "--select", "resource_type:function,tag:mt5"),
        *("--vars", json.dumps({"collector_dialect": OURS | changes})),
        # an interpreter of its own: a fork of one that has parsed the project hangs when it parses it once more
        PYTHONUNBUFFERED="1",
    )
    assert done.returncode == 0, done.stdout


def fill(world: World, symbol: str, timeframes: tuple[str, ...], rows: int, seed: int = 1) -> None:
    """Put up to `rows` candles of two weeks from `START` into each of these tables of a symbol."""
    rng = random.Random(seed)
    with world.connection() as connection, connection, connection.cursor() as cursor:
        for timeframe in timeframes:
            execute_values(
                cursor,
                f"insert into public.{symbol}_{timeframe.lower()} (timestamp, {', '.join(COLUMNS)}, synced_at)"
                " values %s",
                list(candles(rng, timeframe, rows)),
            )


def candles(rng: random.Random, timeframe: str, rows: int) -> Iterator[list[Any]]:
    """Rows of one table, with gaps."""
    places = range(14 * 1440 // MINUTES[timeframe])
    for place in sorted(rng.sample(places, min(rows, len(places) - 1))):
        opened = START + timedelta(minutes=place * MINUTES[timeframe])
        close = float(rng.randint(95, 105))
        values = {
            **dict.fromkeys(("open", "high", "low", "close"), close),
            **dict.fromkeys(("fractals", "horizontal_trendlines", "diagonal_trendlines")),
            "momentum_candles": maybe(rng, [momentum(rng, opened) for _ in range(rng.randint(0, 8))]),
            "keltner_channels": maybe(rng, {"upper_middle": band(rng, 98), "lower_middle": band(rng, 92)}),
            **{name: rng.choice([None, float(rng.randint(95, 105))]) for name in ("tema", "hrma", "smma")},
            "zigzag": maybe(
                rng, {side: [point(rng, opened) for _ in range(rng.randint(0, 4))] for side in ("peaks", "bottoms")}
            ),
        }
        yield [
            opened,
            *(Json(each) if isinstance(each, list | dict) else each for each in map(values.get, COLUMNS)),
            START,
        ]


def maybe(rng: random.Random, value: Any) -> Any:
    """The value; now and then none, or something that no collector means."""
    draw = rng.random()
    return None if draw < 0.1 else Json(rng.choice(JUNK)) if draw < 0.2 else value


def moment(rng: random.Random, opened: datetime) -> dict[str, Any]:
    """A time, an index, both or neither; times repeat, and some are no times."""
    known = int(opened.timestamp()) - 300 * rng.randint(0, 6) + rng.choice([0, 0, 0.25])
    time = rng.choice([known, known, known, 0, "yesterday", None, 1e12])
    index = rng.choice([rng.randint(0, 99), rng.randint(0, 3), None, "x", 1e9])
    return rng.choice([{"time": time}, {"index": index}, {"time": time, "index": index}, {}])


def momentum(rng: random.Random, opened: datetime) -> Any:
    """A momentum candle with its type as a number or a word."""
    kind = rng.choice([1, 2, 4, 5, 1.0, 0, 3, *WORDS])
    return rng.choice([{**moment(rng, opened), "type": kind, "zscore": 2.5}] * 9 + [None, 3])


def band(rng: random.Random, price: int) -> Any:
    """A number, or numbers from the newest on, or nothing usable."""
    value = price + rng.randint(0, 6)
    return rng.choice([value, value, value, [value, 500], [value], [], [None], 0, "none", None])


def point(rng: random.Random, opened: datetime) -> Any:
    """A turning point as an object, or as an array of its time or index and its price."""
    price = rng.choice([rng.randint(90, 110), rng.randint(90, 110), 0, None])
    made = {**moment(rng, opened), "price": price}
    return rng.choice([made, made, made, [made.get("time", made.get("index")), price], "none"])
