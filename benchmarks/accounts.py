"""How long a sync of many MT5 accounts takes with a service that takes its time, and in how much memory.

Usage: python -m benchmarks.accounts [--accounts 100] [--positions 50] [--trades 200] [--delay 0.2]

The fake service of the tests answers each request after the delay. `asked one by one` is what the same requests would
take in a row, by the delay alone. What is in the marts afterwards is counted.
"""

from __future__ import annotations

import os
import resource
import tempfile
from contextlib import closing
from pathlib import Path

import click
import psycopg2
from rich.console import Console
from rich.table import Table

from benchmarks.server import embedded_server, timed
from tests.support.fake_mt5 import FakeMt5
from tests.support.world import TRADEHOUSE

DATABASE = "accounts"


@click.command()
@click.option("--accounts", default=100, show_default=True, help="How many are registered.")
@click.option("--positions", default=50, show_default=True, help="Open positions of each.")
@click.option("--trades", default=200, show_default=True, help="Past trades of each, within 30 days.")
@click.option("--delay", default=0.2, show_default=True, help="Seconds the service takes for a reply.")
def main(accounts: int, positions: int, trades: int, delay: float) -> None:
    """Measure a first sync, one that finds nothing new, and one in which every position has moved."""
    names = [f"account {number}" for number in range(accounts)]
    table = Table(title=f"{accounts:,} accounts x ({positions} positions, {trades} trades), {delay:g} s a reply")
    for heading in ("sync", "seconds", "requests", "asked one by one"):
        table.add_column(heading, justify="left" if heading == "sync" else "right")
    with tempfile.TemporaryDirectory() as directory, FakeMt5() as fake:
        fake.generate(names, positions, trades)
        with embedded_server(Path(directory) / "postgres") as server:
            environment = {
                **os.environ,
                **fake.settings,
                "POSTGRESQL_URI": server.fresh_database(DATABASE),
                "TRADEHOUSE_HOME": str(Path(directory) / "home"),
            }
            timed([str(TRADEHOUSE), "accounts", "sync"], environment)  # schemas, views, dbt's first parsing
            with closing(psycopg2.connect(server.uri(DATABASE))) as connection, connection.cursor() as cursor:
                cursor.executemany(
                    "insert into accounts.registered_accounts (id) values (%s)", [(name,) for name in names]
                )
                connection.commit()
            fake.treat(delay=delay)
            for job, profit in (("the first", None), ("nothing new", None), ("every position moved", 1.5)):
                if profit is not None:
                    fake.move_all(profit)
                seconds = timed([str(TRADEHOUSE), "accounts", "sync"], environment)
                requests = len(fake.requests())
                table.add_row(job, f"{seconds:.1f}", f"{requests:,}", f"{requests * delay:,.1f} s")
                if server.count(DATABASE, "accounts.trades") != accounts * (positions + trades):
                    raise RuntimeError("not every position and trade is in accounts.trades")
            memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    Console().print(table)
    Console().print(f"the command and its children took {memory:,.0f} MiB at most")


if __name__ == "__main__":
    main()
