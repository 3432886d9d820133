"""How long the indicators take: candles in the warehouse → market.indicator_data.

Usage: python -m benchmarks.indicators [--instruments 200] [--bars 10000] [--rounds 3]

In an embedded Postgres of its own, with the models built and empty: `tradehouse indicators run` over all candles, with
one worker and with two; then a new session of minutes; then with nothing new. Beside it what the same arrays cost in
TA-Lib alone, and in pandas, which reads no database and writes none. Peak memory is that of the command and its
workers together.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import psutil  # type: ignore[import-untyped]
import psycopg2
from rich.console import Console
from rich.table import Table

from extract.binary_copy import binary_rows
from extract.dbt_runner import Dbt
from extract.project_files import project_fingerprint
from extract.records import Run
from extract.refresh import keep_models
from extract.schema import prepare
from extract.settings import Settings, load_project
from extract.warehouse import Connection, Warehouse, open_warehouse, stop_embedded
from indicators.compute import Bars, indicators

TRADEHOUSE = Path(sys.executable).parent / "tradehouse"
SESSION = 375
NO_TESTS = ("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
FIRST_MINUTE = 1_735_789_500_000_000  # 2025-01-02 09:15 IST
STAMP = 1_764_000_000_000_000
TYPES = {
    "instrument_id": "bigint",
    "timeframe": "text",
    "timestamp": "timestamptz",
    **dict.fromkeys(("open", "high", "low", "close"), "double precision"),
    "volume": "bigint",
    "synced_at": "timestamptz",
}


@dataclass
class Cost:
    """Of one job: wall seconds, CPU seconds of the command and of Postgres, and peak memory in MB."""

    wall: list[float] = field(default_factory=list)
    command: list[float] = field(default_factory=list)
    postgres: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)


def walk(number: int, bars: int) -> Bars:
    """A random walk of minutes."""
    random = np.random.default_rng(number)
    close = np.round(random.uniform(50, 5_000) * np.exp(np.cumsum(random.normal(0, 0.0006, bars))), 2)
    opened = np.concatenate([close[:1], close[:-1]])
    spread = np.abs(random.normal(0, 0.0003, (2, bars)))
    place = np.arange(bars)
    at = FIRST_MINUTE + ((place // SESSION) * 1440 + place % SESSION) * 60_000_000
    high, low = np.maximum(opened, close) * (1 + spread[0]), np.minimum(opened, close) * (1 - spread[1])
    return Bars(at, high, low, close, random.integers(0, 5_000, bars).astype(np.float64))


def land(connection: Connection, series: Sequence[Bars], start: int, end: int, stamp: int) -> None:
    """Write the bars between two places of each series as candles, and what Upstox's triggers would count of them."""
    with connection.cursor() as cursor:
        cursor.execute("alter table market.candle_data disable trigger user")
        for number, bars in enumerate(series, 1):
            at = bars.at[start:end]
            columns = {
                "instrument_id": np.full(len(at), number),
                "timeframe": np.full(len(at), b"1m"),
                "timestamp": at,
                "open": bars.close[start:end],
                "high": bars.high[start:end],
                "low": bars.low[start:end],
                "close": bars.close[start:end],
                "volume": bars.volume[start:end].astype(np.int64),
                "synced_at": np.full(len(at), stamp),
            }
            names = ", ".join(TYPES)
            cursor.copy_expert(
                f"copy market.candle_data ({names}) from stdin (format binary)", binary_rows(columns, TYPES)
            )
        cursor.execute("alter table market.candle_data enable trigger user; truncate market.coverage")
        cursor.execute(
            "insert into market.coverage (instrument_id, timeframe, day, candles, volume, first_at, last_at)"
            " select instrument_id, timeframe, (timestamp at time zone 'Asia/Kolkata')::date, count(*), sum(volume),"
            " min(timestamp), max(timestamp) from market.candle_data group by 1, 2, 3"
        )
        cursor.execute("vacuum analyze market.candle_data")


def build(settings: Settings, warehouse: Warehouse, connection: Connection) -> None:
    """Make all tables, empty."""
    prepare(warehouse, connection, load_project())
    for source in ("upstox", "indicators"):
        result = Dbt(settings, warehouse, source).run("build", "--select", f"tag:{source}", *NO_TESTS)
        assert not result.problems, result.problems
        keep_models(connection, source, result.models)
        now = pd.Timestamp.now("UTC").to_pydatetime()
        Run.record_past(connection, source, "bench", now, [], project_fingerprint=project_fingerprint())


def run(directory: Path, cost: Cost, *arguments: str) -> str:
    """Run `tradehouse indicators run` and add what it cost; return what it printed."""
    server = psutil.Process(int((directory / "postgres" / "postmaster.pid").read_text().split()[0]))
    before = _cpu_of(server)
    started = time.perf_counter()
    process = subprocess.Popen(
        [TRADEHOUSE, "indicators", "run", *arguments],
        env={"TRADEHOUSE_HOME": str(directory), "PATH": "/usr/bin:/bin"},
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    watch = _Watch(process.pid)
    watch.start()
    printed, _ = process.communicate()
    cost.wall.append(time.perf_counter() - started)
    watch.join()
    assert process.returncode == 0, printed
    cost.memory.append(watch.peak / 1e6)
    cost.command.append(watch.cpu)
    cost.postgres.append(_cpu_of(server) - before)
    return printed


def _cpu_of(process: psutil.Process) -> float:
    """CPU seconds of a server: its own, those of the processes that have ended, those of the others."""
    own = process.cpu_times()
    return float(sum(own[:4])) + sum(sum(child.cpu_times()[:2]) for child in process.children())


class _Watch(threading.Thread):
    """Watches the memory and the CPU time of a process and of its children until it ends."""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self._process = psutil.Process(pid)
        self._seconds: dict[int, float] = {}
        self.peak = 0

    def run(self) -> None:
        """Look every 20 ms."""
        while True:
            try:
                members = [self._process, *self._process.children(recursive=True)]
                memory = 0
                for member in members:
                    memory += member.memory_full_info().pss
                    self._seconds[member.pid] = sum(member.cpu_times()[:2])
            except psutil.Error:
                if not self._process.is_running() or self._process.status() == psutil.STATUS_ZOMBIE:
                    return
                continue
            self.peak = max(self.peak, memory)
            time.sleep(0.02)

    @property
    def cpu(self) -> float:
        """CPU seconds of all of them."""
        return sum(self._seconds.values())


def in_pandas(bars: Bars) -> None:
    """Most of the indicators of a series, as one writes them in pandas."""
    frame = pd.DataFrame({"high": bars.high, "low": bars.low, "close": bars.close, "volume": bars.volume})
    close = frame["close"]
    for period in (9, 20, 50, 200):
        close.rolling(period).mean()
    for period in (9, 21, 50, 200):
        close.ewm(span=period, adjust=False).mean()
    change = close.diff()
    gain, loss = change.clip(lower=0), -change.clip(upper=0)
    100 - 100 / (1 + gain.ewm(alpha=1 / 14).mean() / loss.ewm(alpha=1 / 14).mean())
    line = close.ewm(span=12, adjust=False).mean() - close.ewm(span=26, adjust=False).mean()
    line - line.ewm(span=9, adjust=False).mean()
    middle, reach = close.rolling(20).mean(), close.rolling(20).std(ddof=0)
    middle + 2 * reach, middle - 2 * reach
    before = close.shift()
    true = pd.concat([frame.high - frame.low, (frame.high - before).abs(), (frame.low - before).abs()], axis=1).max(
        axis=1
    )
    atr = true.ewm(alpha=1 / 10).mean().to_numpy()
    (np.sign(change) * frame["volume"]).cumsum()
    frame["volume"].rolling(20).mean()
    high, low, closes = bars.high, bars.low, bars.close
    upper = lower = float("nan")
    trend = 1
    for bar in range(len(closes)):  # Supertrend needs the bar before
        half = (high[bar] + low[bar]) / 2
        above, below = half + 3 * atr[bar], half - 3 * atr[bar]
        upper = above if not bar or above < upper or closes[bar - 1] > upper else upper
        lower = below if not bar or below > lower or closes[bar - 1] < lower else lower
        trend = -1 if trend == 1 and closes[bar] < lower else 1 if trend == -1 and closes[bar] > upper else trend


def seconds_of(work: Callable[[Bars], object], series: Sequence[Bars]) -> float:
    """CPU seconds of some work over all series."""
    started = time.process_time()
    for bars in series:
        work(bars)
    return time.process_time() - started


def measure(instruments: int, bars: int, rounds: int, console: Console) -> dict[str, Cost]:
    """What each job costs."""
    costs: dict[str, Cost] = {}
    series = [walk(number, bars + SESSION) for number in range(instruments)]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        settings = Settings(postgresql_uri=None, tradehouse_home=directory)
        warehouse = open_warehouse(settings)
        try:
            with closing(psycopg2.connect(warehouse.uri)) as connection, connection.cursor() as cursor:
                connection.autocommit = True
                build(settings, warehouse, connection)
                cursor.execute(
                    "select ops.make_month_partitions('market.candle_data', '2025-01-01',"
                    " (to_timestamp(%s) at time zone 'UTC')::date)",
                    (int(series[0].at[-1]) / 1e6,),
                )
                for number in range(rounds):
                    cursor.execute("truncate market.candle_data, market.indicator_data, staging.indicator_marks")
                    land(connection, series, 0, bars, STAMP + number)
                    workers = 1 if number == rounds - 1 and rounds > 1 else 2
                    job = costs.setdefault(f"all candles, {workers} workers", Cost())
                    console.print(run(directory, job, "--workers", str(workers)).strip(), markup=False)
                land(connection, series, bars, bars + SESSION, STAMP + 100)
                job = costs.setdefault("a new session", Cost())
                console.print(run(directory, job, "--workers", "2").strip(), markup=False)
                for _ in range(rounds):
                    run(directory, costs.setdefault("nothing new", Cost()))
        finally:
            stop_embedded(settings)
    costs["TA-Lib alone"] = Cost(command=[seconds_of(indicators, series) for _ in range(rounds)])
    few = series[: max(1, instruments // 20)]
    share = len(series) / len(few)
    costs["pandas"] = Cost(command=[share * seconds_of(in_pandas, few) for _ in range(rounds)])
    return costs


@click.command()
@click.option("--instruments", default=200, show_default=True, type=click.IntRange(1))
@click.option("--bars", default=10_000, show_default=True, type=click.IntRange(1))
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="The last one has one worker.")
def main(instruments: int, bars: int, rounds: int) -> None:
    """Print what each job costs: the least of the rounds, and their median.

    Example: python -m benchmarks.indicators --instruments 20
    """
    console = Console()
    costs = measure(instruments, bars, rounds, console)
    table = Table(title=f"{instruments} instruments, {bars:,} bars each")
    for heading in ("job", "wall s", "median", "CPU s: command", "Postgres", "peak MB"):
        table.add_column(heading, justify="left" if heading == "job" else "right")
    for name, cost in costs.items():
        columns = (cost.command, cost.postgres, cost.memory)
        table.add_row(
            name,
            f"{min(cost.wall):.1f}" if cost.wall else "",
            f"{statistics.median(cost.wall):.1f}" if cost.wall else "",
            *(f"{min(values):.1f}" if values else "" for values in columns),
        )
    console.print(table)


if __name__ == "__main__":
    main()
