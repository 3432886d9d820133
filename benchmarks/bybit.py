"""How long a backfill of Bybit takes beside what its rate limit allows, and what being killed on the way costs.

Usage: python -m benchmarks.bybit [--executions 100000] [--months 3] [--kills 5]

The fake Bybit of the tests answers at once, and the configured rate is out of the way, so what is measured is ours:
requests, typing, landing, and dbt's start. In real life the rate rules: so many requests, eight of them a second.
What has landed is compared with what the fake holds, after the kills too.
"""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path

import click
import psycopg2
from rich.console import Console
from rich.table import Table

from benchmarks.server import Server, embedded_server, timed
from extract.sources.bybit.settings import BybitSettings
from tests.support.bybit_items import days_ago, trades
from tests.support.fake_bybit import FakeBybit
from tests.support.world import TRADEHOUSE

DAYS_A_MONTH = 30
UNLIMITED = "100000"


def require_all(server: Server, database: str, count: int, span: tuple[int, int]) -> None:
    """Fail unless every execution has landed once, as the fake lists it."""
    with closing(psycopg2.connect(server.uri(database))) as connection, connection.cursor() as cursor:
        cursor.execute("select exec_id, payload from staging.bybit_executions")
        landed = dict(cursor.fetchall())
    expected = {item["execId"]: item for item in trades(count, *span)}
    if landed != expected:
        raise RuntimeError(f"{len(landed):,} executions landed, {len(expected):,} expected, or some differ")


def kill_and_resume(command: list[str], environment: dict[str, str], kills: int, seconds: float) -> float:
    """Kill the command so many times, evenly over the `seconds` it takes, then let it end; wall seconds of it all."""
    started = time.perf_counter()
    for _ in range(kills):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(seconds / (kills + 1))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    timed(command, environment)
    return time.perf_counter() - started


@click.command()
@click.option("--executions", default=100_000, show_default=True, help="How many the account has.")
@click.option("--months", default=3, show_default=True, help="Over how long they spread.")
@click.option("--kills", default=5, show_default=True, help="How often the second backfill is killed.")
def main(executions: int, months: int, kills: int) -> None:
    """Measure a backfill, one that is killed, and syncs with ten new executions."""
    span = days_ago(months * DAYS_A_MONTH), days_ago(0.2)
    command = [str(TRADEHOUSE), "bybit", "backfill", "--months", str(months)]
    table = Table(title=f"{executions:,} executions of {months} months")
    for heading in ("job", "seconds", "requests", f"at {BybitSettings().bybit_requests_per_second:g} a second"):
        table.add_column(heading, justify="left" if heading == "job" else "right")
    with tempfile.TemporaryDirectory() as directory, FakeBybit() as fake:
        fake.generate(executions, *span)
        environment = {
            **os.environ,
            **fake.settings,
            "BYBIT_REQUESTS_PER_SECOND": UNLIMITED,
            "TRADEHOUSE_HOME": str(Path(directory) / "home"),
        }

        def row(job: str, seconds: float) -> None:
            requests = len(fake.requests())
            allowed = requests / BybitSettings().bybit_requests_per_second
            table.add_row(job, f"{seconds:.1f}", f"{requests:,}", f"{allowed:,.1f} s")

        with embedded_server(Path(directory) / "postgres") as server:
            environment["POSTGRESQL_URI"] = server.fresh_database("whole")
            seconds = timed(command, environment)
            memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
            require_all(server, "whole", executions, span)
            row("backfill", seconds)
            for hour, job in enumerate(("the first sync, 10 new", "every later sync, 10 new")):
                new = trades(10, days_ago(0.01), days_ago(0), seed=2 + hour)
                fake.add(new)
                row(job, timed([str(TRADEHOUSE), "bybit", "sync"], environment))
                if server.count("whole", "staging.int_bybit__fills") != executions + 10 * (hour + 1):
                    raise RuntimeError("not every new execution is in the models")
            fake.clear()
            fake.generate(executions, *span)
            environment["POSTGRESQL_URI"] = server.fresh_database("killed")
            seconds = kill_and_resume(command, environment, kills, seconds)
            require_all(server, "killed", executions, span)
            row(f"backfill, killed {kills} times", seconds)
    Console().print(table)
    Console().print(f"the command and its children took {memory:,.0f} MiB at most")


if __name__ == "__main__":
    main()
