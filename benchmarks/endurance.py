"""Whether a day of ticks leaves anything behind: memory, descriptors, catalog rows, table and index sizes.

Usage: python -m benchmarks.endurance [--ticks 2880] [--warm-up 300]

One process runs tick after tick without a pause, as the service does in a day. Ten ticks are one M5 bar: the forming
bar of every symbol is rewritten by each of them, and the next one begins. Whatever has grown by more than 5 %
between the end of the warm-up and the last tick is named, and the exit code is 1. (Linux only: it reads /proc.)
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

import click
import psycopg2
from rich.console import Console
from rich.progress import track
from rich.table import Table

from collector.simulator import write_demo_data
from extract.run import Runner
from extract.settings import SQL, Project, Settings, load_project
from extract.sources.mt5.source import Mt5Source
from extract.warehouse import Warehouse, open_warehouse, stop_embedded

BAR = 300
TICKS_PER_BAR = 10
GROWTH = 1.05
SLACK = 16
"""What a small count may grow by: 5 % of 30 descriptors is not one."""

# Run records are left out: there is one for every tick, until their retention deletes it.
MEASURES = {
    "pg_class rows": "select count(*) from pg_class",
    "pg_attribute rows": "select count(*) from pg_attribute",
    "pg_class dead rows": "select pg_stat_get_dead_tuples('pg_class'::regclass)",
    "pg_attribute dead rows": "select pg_stat_get_dead_tuples('pg_attribute'::regclass)",
    # but for statistics: autovacuum has its own times for them, and a minute here is six hours of a service
    "catalog bytes": "select sum(pg_total_relation_size(oid)) from pg_class"
    " where relnamespace = 'pg_catalog'::regnamespace and relkind = 'r' and relname <> 'pg_statistic'",
    **{
        f"{schema} {kind} bytes": f"select sum(pg_{function}_size(oid)) from pg_class"
        f" where relnamespace = '{schema}'::regnamespace and relkind = 'r'"
        for schema in ("public", "staging")
        for kind, function in (("table", "table"), ("index", "indexes"))
    },
}
SIZES = ("memory bytes", *(name for name in MEASURES if name.endswith("bytes")))


class Day:
    """A source file of bars around the clock, and its next tick."""

    def __init__(self, path: Path, project: Project, days: int, bars: int) -> None:
        self._path = path
        self._tables = [symbol.upper() for symbol in project.symbols]
        # the bars to come end before now: a bar of the future does not count as the newest
        self._newest = (int(datetime.now(timezone.utc).timestamp()) // BAR - bars - 2) * BAR
        write_demo_data(
            path,
            symbols=self._tables,
            days=days,
            end=datetime.fromtimestamp(self._newest, timezone.utc),
            market_hours=False,
            schema_sql=SQL / "sqlite_schema.sql",
        )
        with closing(sqlite3.connect(path)) as connection:
            ((self._newest,),) = connection.execute(f'select max("timestamp") from "{self._tables[0]}"')
            described = connection.execute(f'select * from "{self._tables[0]}" limit 0').description
            self._columns = ", ".join(f'"{name}"' for name, *_ in described[1:])

    def tick(self, number: int) -> None:
        """Rewrite the forming bar of every symbol, or begin the next one."""
        with closing(sqlite3.connect(self._path)) as connection, connection:
            for table in self._tables:
                if number % TICKS_PER_BAR == 0:
                    connection.execute(
                        f'insert into "{table}" select "timestamp" + {BAR}, {self._columns} from "{table}"'
                        ' order by "timestamp" desc limit 1'
                    )
                else:
                    connection.execute(
                        f'update "{table}" set close = close * 1.0000001'
                        f' where "timestamp" = (select max("timestamp") from "{table}")'
                    )


def footprint(warehouse: Warehouse) -> dict[str, int]:
    """What this process and the warehouse take up now."""
    taken = {
        "memory bytes": int(Path("/proc/self/statm").read_text().split()[1]) * 4096,
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
    }
    with closing(psycopg2.connect(warehouse.uri)) as connection, connection.cursor() as cursor:
        for name, sql in MEASURES.items():
            cursor.execute(sql)
            ((value,),) = cursor.fetchall()
            taken[name] = int(value)
    return taken


def ticks(settings: Settings, project: Project, day: Day, count: int) -> Iterator[int]:
    """Run so many ticks, as a service that finds its tables built; yields the number of each one done."""
    with Runner(settings, project, Mt5Source(settings, project)) as runner:
        runner.run("sync")
        for number in range(1, count + 1):
            day.tick(number)
            if not runner.run("bench").ok:
                raise click.ClickException(f"tick {number} was not done in full: tradehouse status")
            yield number


def grown(first: dict[str, int], last: dict[str, int]) -> list[str]:
    """Names of what is not flat."""
    return [name for name, value in last.items() if value > max(first[name] * GROWTH, first[name] + SLACK)]


@click.command()
@click.option("--ticks", "count", default=2880, show_default=True, help="Ticks; 2,880 of 30 seconds are a day.")
@click.option("--warm-up", default=300, show_default=True, help="Ticks before the first measurement.")
@click.option(
    "--days", default=35, show_default=True, help="Days of bars to start from; with 35 the M5 tables are full."
)
@click.option("--counts-only", is_flag=True, help="Judge what is counted, not memory and sizes: for a short run.")
def main(count: int, warm_up: int, days: int, counts_only: bool) -> None:
    """Run a day of ticks and compare what it takes up before and after."""
    project = load_project()
    with tempfile.TemporaryDirectory() as directory:
        day = Day(Path(directory) / "bench.db", project, days, count // TICKS_PER_BAR + 1)
        settings = Settings(
            sqlite_path=Path(directory) / "bench.db", postgresql_uri=None, tradehouse_home=Path(directory)
        )
        try:
            seen = []
            for number in track(
                ticks(settings, project, day, count), "ticks", total=count, console=Console(stderr=True)
            ):
                if number in (warm_up, count):
                    seen.append(footprint(open_warehouse(settings)))
        finally:
            stop_embedded(settings)
    first, last = seen
    table = Table(title=f"{count:,} ticks, {datetime.now(timezone.utc):%Y-%m-%d}")
    for heading in ("", f"after {warm_up:,}", f"after {count:,}", "growth"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, value in last.items():
        growth = f"{value / first[name] - 1:+.1%}" if first[name] else "-"
        table.add_row(name, f"{first[name]:,}", f"{value:,}", growth)
    Console(width=100).print(table)
    not_flat = [name for name in grown(first, last) if not (counts_only and name in SIZES)]
    if not_flat:
        print(f"not flat: {', '.join(not_flat)}")
        sys.exit(1)


if __name__ == "__main__":
    main()
