"""How long a tick of the running service takes, beside the plain script's.

Usage: python -m benchmarks.ticks [--days 35] [--rounds 7]

Both are warm: one process, the project parsed, the database filled by the same backfill. Each round rewrites the
forming bar of all 15 symbols (or adds a bar on the hour) and lets both bring their tables up to date, in turns.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path

import click
import psycopg2
from rich.console import Console
from rich.table import Table

from benchmarks import plain_script
from benchmarks.source import Source
from extract.cycle import Pipeline
from extract.settings import SQL, Settings, load_project
from extract.transform import Dbt
from extract.warehouse import open_warehouse, stop_embedded


def measure(
    before: Callable[[], None], contenders: Mapping[str, Callable[[], object]], rounds: int
) -> dict[str, list[float]]:
    """Seconds of each contender in each round; `before` changes the source ahead of every one of them."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            before()
            started = time.perf_counter()
            contender()
            seconds[name].append(time.perf_counter() - started)
    return seconds


@click.command()
@click.option("--days", default=35, show_default=True, help="Days of bars to start from; 35 days are 151,200 rows.")
@click.option("--rounds", default=7, show_default=True, help="Ticks of each contender; the median counts.")
def main(days: int, rounds: int) -> None:
    """Measure warm ticks beside the plain script's."""
    project = load_project()
    with tempfile.TemporaryDirectory() as directory:
        source = Source(Path(directory) / "bench.db", project.symbols, days, SQL / "sqlite_schema.sql")
        settings = Settings(sqlite_path=source.path, postgresql_uri=None, tradehouse_home=Path(directory))
        warehouse = open_warehouse(settings)
        try:
            connection = psycopg2.connect(warehouse.uri)
            dbt = Dbt(settings, warehouse, keep_project=True)
            pipeline = Pipeline(settings, project, unattended=True)

            def plain() -> int:
                return plain_script.sync(
                    source.path, connection, "plain", plain_script.SYMBOLS, plain_script.TIMEFRAMES
                )

            def tradehouse() -> object:
                return pipeline.run("bench")

            plain(), tradehouse()
            source.add_bars_on_the_hour()
            plain(), tradehouse()  # dbt runs every increment once
            contenders = {"plain script": plain, "tradehouse": tradehouse}
            results = {
                "15 forming bars": measure(source.revise_forming_bars, contenders, rounds),
                "a bar on the hour": measure(source.add_bars_on_the_hour, contenders, rounds),
            }
            all_tables = {"tradehouse": lambda: dbt.run("run", "--exclude", "config.materialized:view")}
            results["all 135 tables"] = measure(lambda: None, all_tables, rounds)
            connection.close()
        finally:
            stop_embedded(settings)
    _print(results, rounds)


def _print(results: dict[str, dict[str, list[float]]], rounds: int) -> None:
    table = Table(title=f"Warm ticks, median of {rounds}, {datetime.now(timezone.utc):%Y-%m-%d}")
    for heading in ("tick", "contender", "seconds", "all runs", "ratio to plain"):
        table.add_column(heading, justify="left" if heading in ("tick", "contender") else "right")
    for tick, seconds in results.items():
        yardstick = statistics.median(seconds["plain script"]) if "plain script" in seconds else None
        for name, runs in seconds.items():
            median = statistics.median(runs)
            ratio = f"{median / yardstick:.2f}" if yardstick else "-"
            table.add_row(tick, name, f"{median:.2f}", " ".join(f"{run:.2f}" for run in runs), ratio)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
