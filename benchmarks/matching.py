"""How long matching takes: executions that have landed → completed trades.

Usage: python -m benchmarks.matching [--executions 10000 --executions 100000 --executions 1000000]

For each size, in an embedded Postgres of its own: what `dbt run` needs for the fills and the trades after a backfill
into empty tables, after ten new fills, as in an hourly run, after one that arrives a month late, and for a full
refresh; then the command `tradehouse bybit stats`, its start included. Four bots trade twenty symbols for three months;
one exit in four is a stop-loss of the exchange, without the bot's id.
"""

from __future__ import annotations

import io
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import click
import psycopg2
from rich.console import Console
from rich.table import Table

from benchmarks.backfill import TRADEHOUSE
from benchmarks.server import timed
from extract.dbt_runner import Dbt
from extract.schema import prepare
from extract.settings import Settings
from extract.warehouse import Connection, open_warehouse, stop_embedded

COINS = ("BTC", "ETH", "SOL", "XRP", "BNB", "ADA", "DOGE", "TRX", "LINK", "DOT", "AVAX", "LTC", "BCH", "UNI", "ATOM")
SYMBOLS = [f"{coin}USDT" for coin in (*COINS, "NEAR", "APT", "ARB", "OP", "SUI")]
BOTS = ["shortseller_001", "lxalgo_001", "momentum_001", "stranger_001"]
BUILD = ("build", "--select", "tag:bybit", "--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
MATCH = ("run", "--select", "int_bybit__fills", "completed_trades")
START = datetime(2025, 1, 1, tzinfo=timezone.utc)


@dataclass
class Trading:
    """Bots that open, enlarge, close and turn positions; deterministic."""

    executions: int
    random: random.Random = field(default_factory=lambda: random.Random(7))
    positions: dict[tuple[str, str], Decimal] = field(default_factory=dict)
    written: int = 0

    def fill(self, moment: datetime) -> tuple[str, str, str, str]:
        """The next execution as (exec_id, category, exec_time, payload)."""
        self.written += 1
        bot, symbol = self.random.choice(BOTS), self.random.choice(SYMBOLS)
        held = self.positions.get((bot, symbol), Decimal(0))
        quantity = Decimal(self.random.randint(1, 500)).scaleb(-3)
        closes = self.random.random() < min(1.0, float(abs(held)) / 2)
        if closes and self.random.random() < 0.7:
            quantity = abs(held)
        signed = -quantity.copy_sign(held) if closes else quantity.copy_sign(held or self.random.choice([1, -1]))
        by_exchange = closes and quantity <= abs(held) and self.random.random() < 0.25
        self.positions[bot, symbol] = held + signed
        payload = {
            "symbol": symbol,
            "orderId": f"{self.random.getrandbits(128):032x}",
            "orderLinkId": "" if by_exchange else f"{bot}:{'exit' if closes else 'entry'}:{int(moment.timestamp())}",
            "side": "Buy" if signed > 0 else "Sell",
            "execPrice": str(Decimal(self.random.randint(90_000, 110_000)).scaleb(-2)),
            "execQty": str(quantity),
            "execFee": str(Decimal(self.random.randint(1, 99_999)).scaleb(-7)),
            "feeCurrency": "USDT",
            "execType": "Trade",
            "closedSize": str(min(quantity, abs(held)) if closes else 0),
            "stopOrderType": "StopLoss" if by_exchange else "",
            "createType": "CreateByStopLoss" if by_exchange else "CreateByUser",
            "isMaker": False,
            "seq": self.written,
        }
        return f"e{self.written:09d}", "linear", moment.isoformat(), json.dumps(payload)

    def history(self) -> Iterator[tuple[str, str, str, str]]:
        """Three months of fills, evenly spread."""
        for number in range(self.executions):
            yield self.fill(START + timedelta(days=90) * number / self.executions)


def land(connection: Connection, rows: Iterator[tuple[str, str, str, str]], extracted_at: datetime) -> None:
    """Land rows as one batch."""
    text = io.StringIO()
    for row in rows:
        text.write("\t".join(["1", *row, extracted_at.isoformat()]).replace("\\", "\\\\") + "\n")
    text.seek(0)
    with connection.cursor() as cursor:
        cursor.copy_expert(
            "copy staging.bybit_executions (account_uid, exec_id, category, exec_time, payload, extracted_at)"
            " from stdin",
            text,
        )


def measure(executions: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each job."""
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(postgresql_uri=None, tradehouse_home=Path(directory))
        warehouse = open_warehouse(settings)
        try:
            with closing(psycopg2.connect(warehouse.uri)) as connection:
                connection.autocommit = True
                prepare(warehouse, connection, None)
                dbt = Dbt(settings, warehouse, "bybit")
                trading = Trading(executions)
                batch = START + timedelta(days=100)

                def match(job: str, *arguments: str) -> None:
                    process = dbt.start(*MATCH, *arguments)
                    process.wait_until_parsed()
                    started = time.perf_counter()
                    result = process.wait()
                    seconds.setdefault(job, []).append(time.perf_counter() - started)
                    assert not result.problems, result.problems

                built = dbt.run(*BUILD)
                assert not built.problems, built.problems
                match("nothing landed")
                land(connection, trading.history(), batch)
                match("backfill")
                for number in range(rounds):
                    newest = START + timedelta(days=91, hours=number)
                    for job, moments in (
                        ("ten new fills", [newest + timedelta(minutes=minute) for minute in range(10)]),
                        ("a fill a month late", [START + timedelta(days=60, hours=number)]),
                    ):
                        batch += timedelta(seconds=1)
                        land(connection, iter([trading.fill(moment) for moment in moments]), batch)
                        match(job)
                match("full refresh", "--full-refresh")
                environment = {"POSTGRESQL_URI": warehouse.uri, "TRADEHOUSE_HOME": directory}
                seconds["stats"] = [timed([TRADEHOUSE, "bybit", "stats"], environment) for _ in range(rounds)]
        finally:
            stop_embedded(settings)
    return seconds


@click.command()
@click.option(
    "--executions", multiple=True, default=[10_000, 100_000, 1_000_000], show_default=True, help="Sizes to measure."
)
@click.option("--rounds", default=3, show_default=True, help="Increments of each kind; the median counts.")
def main(executions: tuple[int, ...], rounds: int) -> None:
    """Measure matching at several sizes."""
    table = Table(title=f"Matching: dbt run of fills and trades, and stats, {datetime.now(timezone.utc):%Y-%m-%d}")
    for heading in ("executions", "job", "seconds", "all runs", "µs an execution"):
        table.add_column(heading, justify="left" if heading == "job" else "right")
    for size in executions:
        for job, runs in measure(size, rounds).items():
            median = statistics.median(runs)
            table.add_row(
                f"{size:,}", job, f"{median:.2f}", " ".join(f"{run:.2f}" for run in runs), f"{median / size * 1e6:.1f}"
            )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
