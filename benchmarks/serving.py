"""The HTTP API under load, beside a plain one and beside Postgres alone: `python -m benchmarks.serving`."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import click
import psutil  # type: ignore[import-untyped]
import psycopg2
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from benchmarks.backfill import TRADEHOUSE
from benchmarks.http_load import Load, load
from benchmarks.server import embedded_server, timed
from benchmarks.source import Source
from extract.run import Runner
from extract.settings import SQL, Settings, load_project
from extract.sources.mt5.source import Mt5Source
from tests.support.servers import free_port

HERE = Path(__file__).resolve().parent
BARS = "/api/indicators/EURUSD/M5?limit=1000"
KEYS = [f"tradehouse_benchmark_{number}" for number in range(100)]
GZIP = {"Accept-Encoding": "gzip"}


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str], port: int) -> Iterator[psutil.Process]:
    """A server as a process of its own; ready when it answers."""
    with subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 30
            while True:
                try:
                    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
                        connection.request("GET", "/openapi.json")
                        connection.getresponse().read()
                    break
                except OSError:
                    assert time.monotonic() < deadline, "the server does not listen"
                    time.sleep(0.02)
            yield psutil.Process(process.pid)
        finally:
            process.terminate()


def add_keys(uri: str) -> None:
    """PRO keys for 100 clients, and no rate limit that would end the load."""
    with closing(psycopg2.connect(uri)) as connection, connection, connection.cursor() as cursor:
        cursor.executemany(
            "insert into ops.api_keys (key_hash, name, tier) values (%s, %s, 'PRO')",
            [(hashlib.sha256(key.encode()).digest(), key) for key in KEYS],
        )
        cursor.execute("update api.tiers set requests_per_hour = 100000000")


def postgres_alone(uri: str, requests: int) -> Load:
    """The same answer straight from Postgres, over one connection."""
    found = Load()
    with closing(psycopg2.connect(uri)) as connection, connection.cursor() as cursor:
        for _ in range(requests):
            started = time.perf_counter()
            cursor.execute("select api.indicators('eurusd', 'M5', 1000, null, 'sampled', 'PRO')::text")
            cursor.fetchall()
            found.latencies.append(time.perf_counter() - started)
            found.statuses[200] += 1
    found.seconds = sum(found.latencies)
    return found


def etag(port: int, headers: Mapping[str, str]) -> str:
    """The entity tag of the answer that is measured."""
    with closing(HTTPConnection("127.0.0.1", port)) as connection:
        connection.request("GET", BARS, headers=dict(headers))
        tag = connection.getresponse().getheader("ETag")
    assert tag is not None
    return tag


def hour_of_ticks(source: Source, tick: Callable[[], object], port: int) -> tuple[int, int]:
    """100 clients that look at one chart each and ask every 30 seconds, over 120 ticks; (hits, all answers).

    A client's asking and the ticks are drawn at random within the half minute; only the waiting between is left out.
    """
    draw = random.Random(1)
    project = load_project()
    symbols, timeframes = project.symbols, list(project.timeframes)
    charts = [f"/api/indicators/{draw.choice(symbols)}/{draw.choice(timeframes)}?limit=300" for _ in KEYS]
    hits = answers = 0
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        for _ in range(120):
            order = draw.sample(range(len(KEYS)), len(KEYS))
            for place, client in enumerate(order):
                if place == len(order) // 2:
                    source.revise_forming_bars()
                    tick()
                    connection.close()  # the server may have, meanwhile
                    time.sleep(0.5)  # of the 30 seconds; hot answers are built again meanwhile
                connection.request("GET", charts[client], headers={"X-API-Key": KEYS[client], **GZIP})
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 200, answer.status
                hits += answer.getheader("X-Cache") == "hit"
                answers += 1
    return hits, answers


def measure(port: int, plain_port: int, uri: str, requests: int) -> Table:
    """The loads, each beside the plain API under the same one."""
    key = {"X-API-Key": KEYS[0], **GZIP}
    tagged = key | {"If-None-Match": etag(port, key)}
    few = requests // 10  # where Postgres answers each request
    table = Table(title="GET /api/indicators/EURUSD/M5, 1,000 bars, one process each")
    for heading in ("connections", "contender", "answers/s", "median, ms", "p99, ms", "ratio to plain"):
        table.add_column(heading, justify="left" if heading == "contender" else "right")

    def contest(connections: int, contenders: Mapping[str, Load]) -> None:
        yardstick = contenders["plain"]
        for name, found in contenders.items():
            assert set(found.statuses) <= {200, 304}, (name, found.statuses)
            milliseconds = [f"{found.percentile(share) * 1000:.1f}" for share in (0.5, 0.99)]
            first = str(connections) if found is yardstick else ""
            table.add_row(first, name, f"{found.rate:,.0f}", *milliseconds, f"{found.rate / yardstick.rate:.1f}")

    for connections in (16, 100):
        contest(
            connections,
            {
                "plain": load(plain_port, lambda _: BARS, GZIP, connections=connections, requests=few),
                "cached": load(port, lambda _: BARS, key, connections=connections, requests=requests),
                "304": load(port, lambda _: BARS, tagged, connections=connections, requests=requests),
            },
        )
    contest(
        1,
        {
            "plain": load(plain_port, lambda _: BARS, GZIP, connections=1, requests=200),
            # a limit of its own for each request, so that none is cached
            "not cached": load(port, lambda number: f"{BARS[:-4]}{999 - number}", key, connections=1, requests=200),
            "Postgres alone": postgres_alone(uri, 200),
        },
    )
    return table


@click.command()
@click.option(
    "--requests", default=5000, show_default=True, help="Requests of a load; a tenth of it for the plain API."
)
@click.option("--redis-url", help="Also measure the hit rate over an hour of ticks, with this Redis or Valkey.")
def main(requests: int, redis_url: str | None) -> None:
    """Measure the API beside a plain FastAPI of the same endpoint, and beside Postgres alone.

    Example: python -m benchmarks.serving --redis-url redis://127.0.0.1:6379/0
    """
    console = Console(width=110)
    project = load_project()
    with tempfile.TemporaryDirectory() as name, embedded_server(Path(name) / "postgres") as server:
        directory = Path(name)
        path, schema = directory / "bench.db", SQL / "sqlite_schema.sql"
        source = Source(path, project.symbols, project.timeframes, 10, schema)
        uri = server.fresh_database("serving")
        environment = {
            "SQLITE_PATH": str(path),
            "POSTGRESQL_URI": uri,
            "TRADEHOUSE_HOME": str(directory / "home"),
            "LOG_LEVEL": "WARNING",
        }
        if redis_url:
            environment["REDIS_URL"] = redis_url
        timed([TRADEHOUSE, "sync"], environment)
        add_keys(uri)
        port, plain_port = free_port(), free_port()
        started = time.perf_counter()
        with running([str(TRADEHOUSE), "serve", "--port", str(port)], environment, port) as process:
            console.print(f"the API answers after {time.perf_counter() - started:.1f} s")
            with running([sys.executable, str(HERE / "plain_api.py"), uri, str(plain_port)], {}, plain_port):
                console.print(measure(port, plain_port, uri, requests))
            console.print(f"memory of the API: {process.memory_info().rss / 1e6:.0f} MB")
            if redis_url:
                settings = Settings(sqlite_path=path, postgresql_uri=SecretStr(uri), tradehouse_home=directory / "home")
                with Runner(settings, project, Mt5Source(settings, project)) as runner:
                    hits, answers = hour_of_ticks(source, lambda: runner.run("bench"), port)
                console.print(f"hit rate of 100 clients over an hour of ticks: {hits / answers:.1%} of {answers:,}")


if __name__ == "__main__":
    main()
