"""A warehouse with instruments, candles and indicators of the Indian market that a test writes itself, and the API."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg2
from psycopg2.extras import execute_values

from tests.support.api_stand_ins import ADMIN_KEY, FREE_KEY, PRO_KEY, PROJECT
from tests.support.api_world import ApiWorld

INDIA = timezone(timedelta(hours=5, minutes=30))
STAMP = datetime(2026, 1, 1, tzinfo=timezone.utc)
INDICATORS = tuple(PROJECT.indicator_types)


@dataclass(frozen=True)
class MarketBar:
    """A candle and its indicators; None: none were computed."""

    at: datetime
    open: float
    high: float
    low: float
    close: float
    volume: int
    oi: int | None
    indicators: Mapping[str, float | None] | None

    @property
    def ohlc(self) -> dict[str, Any]:
        """The candle as the API shows it."""
        prices = {name: getattr(self, name) for name in ("open", "high", "low", "close", "volume", "oi")}
        return {"time": int(self.at.timestamp()), **prices}


def bar(at: datetime, number: int, *, warm: bool = True) -> MarketBar:
    """The bar of this number, all of whose values differ; in the warm-up every second indicator is NULL."""
    values: dict[str, float | None] = {}
    for place, name in enumerate(INDICATORS):
        value = (-1) ** number if PROJECT.indicator_types[name] == "smallint" else number + place / 64
        values[name] = value if warm or place % 2 else None
    low = 100 + number / 8
    return MarketBar(at, low + 1, low + 3.25, low, low + 2.5, 1000 + number, number or None, values)


def days(first: datetime, count: int) -> list[MarketBar]:
    """Daily bars: midnight in India, each calendar day."""
    return [bar(first + timedelta(days=number), number, warm=number > 2) for number in range(count)]


@dataclass
class MarketWorld(ApiWorld):
    """The real functions of the API over rows the test writes; keys of all tiers."""

    stamp: datetime = STAMP

    def add_keys(self) -> None:
        """Let the tests call as each tier."""
        for key, tier in ((PRO_KEY, "PRO"), (ADMIN_KEY, "ADMIN"), (FREE_KEY, "FREE")):
            self.execute(
                "insert into ops.api_keys (key_hash, name, tier) values (%s, %s, %s)",
                hashlib.sha256(key.encode()).digest(),
                key,
                tier,
            )
        self.execute("update api.tiers set requests_per_hour = 100000")

    def instrument(
        self,
        number: int,
        symbol: str,
        name: str | None = None,
        kind: str = "EQUITY",
        segment: str = "NSE_EQ",
        listed: bool = True,
    ) -> None:
        """Add an instrument."""
        self.execute(
            "insert into market.instrument_master (instrument_id, instrument_key, trading_symbol, name, exchange,"
            " segment, instrument_type, is_listed, synced_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            *(number, f"{segment}|{number}", symbol, name, segment.partition("_")[0], segment, kind, listed),
            self.stamp,
        )

    def write(self, instrument: int, timeframe: str, bars: Sequence[MarketBar]) -> None:
        """Land bars as one batch would; each batch has a stamp of its own."""
        self.stamp += timedelta(seconds=1)
        key = [(instrument, timeframe, bar.at) for bar in bars]
        candles = [(bar.open, bar.high, bar.low, bar.close, bar.volume, bar.oi, self.stamp) for bar in bars]
        computed = [
            (*each, *(bar.indicators[name] for name in INDICATORS), self.stamp)
            for each, bar in zip(key, bars, strict=True)
            if bar.indicators is not None
        ]
        months = {bar.at.astimezone(timezone.utc).date() for bar in bars}
        with closing(psycopg2.connect(self.uri)) as connection, connection, connection.cursor() as cursor:
            for table in ("candle_data", "indicator_data"):
                cursor.execute(
                    "select ops.make_month_partitions(%s, %s, %s)",
                    (f"market.{table}", min(months), max(months)),
                )
            _upsert(
                cursor,
                "candle_data",
                ("open", "high", "low", "close", "volume", "oi", "synced_at"),
                [(*each, *candle) for each, candle in zip(key, candles, strict=True)],
            )
            _upsert(cursor, "indicator_data", (*INDICATORS, "synced_at"), computed)

    def announce_models(self, *models: str) -> None:
        """What a run sends as it ends."""
        payload = {"run_id": 9, "source": "upstox", "extracted_at": self.stamp.isoformat(), "models": list(models)}
        self.execute("select pg_notify('tradehouse_changes', %s)", json.dumps(payload))


def _upsert(cursor: Any, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
    listed = list(rows)
    if not listed:
        return
    changes = ", ".join(f"{column} = excluded.{column}" for column in columns)
    execute_values(
        cursor,
        f"insert into market.{table} (instrument_id, timeframe, timestamp, {', '.join(columns)}) values %s"
        f" on conflict (instrument_id, timeframe, timestamp) do update set {changes}",
        listed,
    )
