"""A market that goes on while things break: every version of the source file is remembered."""

from __future__ import annotations

import random

from tests.support.collector import SYMBOLS, Row, bar, series
from tests.support.oracle import Tables, database_rows, expected_tables, row_differences
from tests.support.world import World

MONDAY = 1_736_121_600  # 2025-01-06 00:00 UTC
M5 = 300
HISTORY = 40  # bars of each symbol to begin with; more than the small cap, so that tables are pruned
TICKS_PER_BAR = 3
FIRST_VERSION = 1000  # far from any price and from EMPTY_VALUE

DEFECTS: tuple[dict[str, object], ...] = (
    {"open": "text"},
    {"close": float("inf")},
    {"tema": 1.7976931348623157e308, "hrma": None},
    {"zigzag": '{"peaks":],"bottoms":[]}'},
    {"fractals": "{'peaks'", "smma": "abc"},
)


class Market:
    """Writes version after version of the source file and checks what the warehouse made of them.

    Each version is one transaction of the collector: the forming bar of every symbol (`tema` is the version's
    number), and now and then a defect, a correction of an older bar, or a bar that had been forgotten.
    """

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self._random = random.Random(seed)
        self._version = FIRST_VERSION
        self._possible: list[Tables] = []
        for symbol in SYMBOLS:
            world.collector.load_many(symbol, series(MONDAY, HISTORY))
        self.move()

    def move(self) -> None:
        """Write the next version."""
        self._version += 1
        collector = self.world.collector
        collector.execute("begin immediate")
        for symbol in SYMBOLS:
            collector.write(symbol, self._news())
        collector.execute("commit")
        self._possible.append(expected_tables(self.world.sqlite_path, cap=self.world.cap))

    def _news(self) -> list[Row]:
        newest = HISTORY + (self._version - FIRST_VERSION) // TICKS_PER_BAR
        rows: list[Row] = [bar(MONDAY + newest * M5, tema=float(self._version))]
        chance = self._random.random()
        earlier = MONDAY + (newest - self._random.randint(1, 6)) * M5
        if chance < 0.2:
            rows.append(bar(earlier, **self._random.choice(DEFECTS)))
        elif chance < 0.4:
            rows.append(bar(earlier, close=1.1 + self._version / 1e6, high=2.0))
        elif chance < 0.5:
            rows.append(bar(earlier + 1))  # a second off the minute: it counts instead of the bar on it
        return rows

    def check_nothing_is_half_done(self) -> None:
        """Demand that staging holds one version of the file, and each table one that staging has had."""
        landed = self.world.query(
            " union ".join(
                f"select coalesce(max(tema), 0) from staging.{symbol.lower()} where tema < 1e6" for symbol in SYMBOLS
            )
        )
        assert len(landed) == 1, f"staging mixes versions of the file: {landed}"
        oldest = len(self._possible) - 1
        with self.world.connection() as connection, connection.cursor() as reader:
            for symbol, timeframe in self._possible[0]:
                name = f"{symbol}_{timeframe.lower()}"
                stored = list(database_rows(reader, name))
                matching = [
                    place
                    for place, tables in enumerate(self._possible)
                    if not any(row_differences(name, tables[symbol, timeframe], stored))
                ]
                assert matching, f"{name} is no version of the file"
                oldest = min(oldest, matching[-1])
        del self._possible[:oldest]  # tables do not go back
