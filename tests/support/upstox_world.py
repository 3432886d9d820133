"""A pipeline under test whose source is the fake Upstox."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.collector import Collector
from tests.support.fake_upstox import TOKEN, FakeUpstox
from tests.support.rest_world import RestWorld
from tests.support.upstox_rows import IST, contract, index, share

NIFTY, SENSEX = index("NSE_INDEX|Nifty 50", "NIFTY"), index("BSE_INDEX|SENSEX", "SENSEX")
RELIANCE, TCS = share("RELIANCE", "INE002A01018"), share("TCS", "INE467B01029")


def today() -> date:
    """Today in India."""
    return datetime.now(IST).date()


def months_ago(months: int) -> date:
    """The first day of a month."""
    day = today().replace(day=1)
    for _ in range(months):
        day = (day - timedelta(days=1)).replace(day=1)
    return day


@dataclass
class UpstoxWorld(RestWorld[FakeUpstox]):
    """A world whose source is a fake Upstox."""

    secrets: tuple[str, ...] = (TOKEN,)

    def upstox(self, *arguments: str, code: int = 0) -> str:
        """Run `tradehouse upstox …`, demand its exit code and that no secret shows; return all it printed."""
        done = self.call("upstox", *arguments, code=code)
        return done.stdout + done.stderr

    def sync(self, *arguments: str, code: int = 0) -> str:
        """Run `tradehouse upstox sync`."""
        return self.upstox("sync", *arguments, code=code)

    def status(self) -> dict[str, Any]:
        """What `tradehouse upstox status --json` prints."""
        found: dict[str, Any] = json.loads(self.call("upstox", "status", "--json", code=0).stdout)
        return found

    def candle_requests(self) -> list[str]:
        """The requests for candles since the last call of this."""
        return [path for path in self.fake.requests() if "historical-candle" in path]

    def candles(self, symbol: str, timeframe: str) -> list[tuple[Any, ...]]:
        """The candles of an instrument, oldest first."""
        return self.query(
            "select timestamp, open, high, low, close, volume, oi from market.candle_data"
            " join market.instrument_master using (instrument_id)"
            " where trading_symbol = %s and timeframe = %s order by timestamp",
            symbol,
            timeframe,
        )

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        """The contents of all tables, without the times at which they were written."""
        return {
            "candles": self.query(
                "select instrument_id, timeframe, timestamp, open, high, low, close, volume, oi"
                " from market.candle_data order by 1, 2, 3"
            ),
            "coverage": self.query("select * from market.coverage order by 1, 2, 3"),
            "master": self.query("select instrument_id, instrument_key from market.instrument_master order by 1"),
            "gaps": self.query("select instrument_id, day, is_settled from market.gaps order by 1, 2"),
        }


def fill(fake: FakeUpstox, first: date) -> None:
    """Two indices, and two shares with a future each, all traded from a day on.

    Today is a holiday, for from 09:15 on a weekday each run asks for its minutes.
    """
    fake.calendar([{"date": str(today()), "closed_exchanges": ["NSE", "BSE"], "open_exchanges": []}])
    until = today() + timedelta(days=30)
    futures = [contract(1000 + n, each, until, "FUT") for n, each in enumerate((RELIANCE, TCS))]
    fake.master("NSE", [NIFTY, RELIANCE, TCS, *futures])
    fake.master("BSE", [SENSEX])
    for each in (NIFTY, SENSEX):
        fake.listing(each["instrument_key"], first, volume=0)
    for each in (RELIANCE, TCS):
        fake.listing(each["instrument_key"], first)


@contextmanager
def upstox_world_on(uri: str, home: Path, directory: Path) -> Iterator[UpstoxWorld]:
    """A warehouse, and an Upstox that lists nothing."""
    with FakeUpstox() as fake:
        yield UpstoxWorld(directory, home, uri, Collector(directory / "none.db"), fake=fake)
