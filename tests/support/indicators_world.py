"""A warehouse with candles and without Upstox, and the stages of the indicators over it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]

from extract.binary_copy import binary_rows
from tests.support.collector import Collector
from tests.support.indicator_oracle import differences, expected
from tests.support.world import World

Key = tuple[int, str]
CANDLE_TYPES = {
    "instrument_id": "bigint",
    "timeframe": "text",
    "timestamp": "timestamptz",
    **dict.fromkeys(("open", "high", "low", "close"), "double precision"),
    "volume": "bigint",
    "oi": "bigint",
    "synced_at": "timestamptz",
}
FIRST_STAMP = pd.Timestamp("2026-01-01", tz="UTC").value // 1000


@dataclass
class IndicatorsWorld(World):
    """Candles in market.candle_data, which the tests write, and the command."""

    stamps: int = 0
    held: dict[Key, pd.DataFrame] = field(default_factory=dict)
    """All bars that the candles should make indicators of."""

    @property
    def environment(self) -> dict[str, str]:
        """The settings the command gets."""
        return {"POSTGRESQL_URI": self.uri, "TRADEHOUSE_HOME": str(self.home), **self.settings}

    @property
    def files(self) -> Path:
        """Where the stages keep their files."""
        return self.home / "indicators"

    def indicators(self, *arguments: str, code: int = 0) -> str:
        """Run `tradehouse indicators …`, demand its exit code, and return all it printed."""
        done: subprocess.CompletedProcess[str] = self.run("indicators", *arguments)
        printed = done.stdout + done.stderr
        assert done.returncode == code, printed
        assert "Traceback" not in printed, printed
        return printed

    def write(self, instrument: int, timeframe: str, bars: pd.DataFrame, kind: str = "EQUITY") -> None:
        """Land candles as one batch of Upstox would: new ones, and others in place of those there are."""
        self.stamps += 1
        count = len(bars)
        columns = {
            "instrument_id": np.full(count, instrument),
            "timeframe": np.full(count, timeframe.encode()),
            "timestamp": bars["at"].to_numpy(),
            **{name: bars[name].to_numpy(dtype=np.float64) for name in ("open", "high", "low", "close")},
            "volume": bars["volume"].to_numpy(dtype=np.int64),
            "oi": np.zeros(count, np.int64),
            "synced_at": np.full(count, FIRST_STAMP + self.stamps * 1_000_000),
        }
        with self.connection() as connection, connection, connection.cursor() as cursor:
            cursor.execute(
                "select ops.make_month_partitions("
                "'market.candle_data', to_timestamp(%s)::date, to_timestamp(%s)::date)",
                (int(bars["at"].min()) / 1e6 - 86_400, int(bars["at"].max()) / 1e6),
            )
            cursor.execute("create temp table brought (like market.candle_data) on commit drop")
            cursor.copy_expert("copy brought from stdin (format binary)", binary_rows(columns, CANDLE_TYPES))
            cursor.execute(
                "insert into market.candle_data select * from brought"
                " on conflict (instrument_id, timeframe, timestamp) do update set open = excluded.open,"
                " high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume,"
                " synced_at = excluded.synced_at"
            )
            cursor.execute(
                "insert into market.instrument_master (instrument_id, instrument_key, trading_symbol, exchange,"
                " segment, instrument_type, is_listed, synced_at)"
                " values (%s, 'NSE_EQ|' || %s, 'S' || %s, 'NSE', 'NSE_EQ', %s, true, now()) on conflict do nothing",
                (instrument, instrument, instrument, kind),
            )
        known = self.held.get((instrument, timeframe))
        together = bars if known is None else pd.concat([known, bars])
        self.held[instrument, timeframe] = (
            together.drop_duplicates("at", keep="last").sort_values("at").reset_index(drop=True)
        )

    def values(self, instrument: int, timeframe: str) -> pd.DataFrame:
        """The series in market.indicator_data: the columns, by `at`."""
        with self.connection() as connection, connection.cursor() as cursor:
            cursor.execute(
                "select * from market.indicator_data where instrument_id = %s and timeframe = %s order by timestamp",
                (instrument, timeframe),
            )
            assert cursor.description is not None
            names = [column.name for column in cursor.description]
            rows = cursor.fetchall()
        frame = pd.DataFrame(rows, columns=names)
        at = [int(moment.timestamp()) * 1_000_000 for moment in frame.pop("timestamp")]
        frame = frame.drop(columns=["instrument_id", "timeframe", "synced_at"]).astype(np.float64)
        return frame.set_index(pd.Index(at))

    def check(self, source: Path | None = None) -> None:  # noqa: ARG002 - a world compares with a file
        """Demand that the table holds the indicators of all bars held, and nothing else."""
        series = self.query("select distinct instrument_id, timeframe from market.indicator_data")
        assert set(series) == set(self.held)
        found = {key: differences(self.values(*key), expected(bars)) for key, bars in self.held.items()}
        assert not any(found.values()), found

    def versions(self) -> list[tuple[Any, ...]]:
        """Each row of the table with its version: equal lists mean that nothing was rewritten."""
        return self.query(
            "select instrument_id, timeframe, timestamp, xmin::text, ctid::text from market.indicator_data"
            " order by instrument_id, timeframe, timestamp"
        )

    def clear(self) -> None:
        """Empty all tables, and forget what was written."""
        self.execute(
            "truncate market.candle_data, market.indicator_data, market.coverage, staging.indicator_values,"
            " staging.indicator_marks, staging.indicator_scans"
        )
        self.held.clear()


@contextmanager
def indicators_world_on(uri: str, home: Path, directory: Path) -> Iterator[IndicatorsWorld]:
    """A warehouse without candles, and no files of an earlier test."""
    shutil.rmtree(home / "indicators", ignore_errors=True)
    yield IndicatorsWorld(directory, home, uri, Collector(directory / "none.db"))
