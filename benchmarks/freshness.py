"""How long a change in the SQLite file takes to the browser: `python -m benchmarks.freshness` (needs Chromium).

One process runs tick after tick as the service does, without its pause. A page with the chart of EURUSD M5 is open in
a real browser. Times are of one clock, that of this machine.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from playwright.sync_api import Page, sync_playwright
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from benchmarks.backfill import TRADEHOUSE
from benchmarks.server import embedded_server
from benchmarks.serving import KEYS, add_keys, running
from benchmarks.source import Source
from extract.run import Runner
from extract.settings import SQL, Settings, load_project
from extract.sources.mt5.source import Mt5Source
from tests.support.servers import free_port

CHROMIUM = "/usr/bin/chromium"
LISTEN = """
    () => {
        const stream = new EventSource("/api/stream?symbols=EURUSD&timeframes=M5");
        stream.addEventListener("changes", () => window.heard.push(Date.now()));
        const newest = [...document.querySelectorAll("[data-testid=candlestick]")].at(-1);
        new MutationObserver(() => window.drawn.push(Date.now())).observe(newest.lastChild, { childList: true });
        return new Promise((resolve) => stream.addEventListener("open", resolve));
    }
"""
"""Note when the page hears of a change, and when the close of its newest bar has changed."""
FORGET = "() => { Object.assign(window, { heard: [], drawn: [] }); }"
ARRIVED = "() => window.heard.length && window.drawn.length"


@contextmanager
def chart(address: str) -> Iterator[Page]:
    """The page in a browser, signed in, its bars shown."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(base_url=address)
        context.request.post("/login", form={"key": KEYS[0], "next": "/login"})
        page = context.new_page()
        page.goto("/chart/EURUSD/M5")
        page.wait_for_selector('[data-testid=trading-chart][data-ready="true"]')
        page.evaluate(LISTEN)
        yield page
        browser.close()


def measure(source: Source, runner: Runner[Any], page: Page, changes: int) -> list[tuple[float, float, float]]:
    """Milliseconds from each change: to the end of the tick, to the event in the browser, to the bar in the chart."""
    found = []
    for _ in range(changes):
        page.evaluate(FORGET)
        changed = time.time()
        source.revise_forming_bars()
        if not runner.run("bench").ok:
            raise click.ClickException("a tick was not done in full")
        ended = time.time()
        page.wait_for_function(ARRIVED)
        heard, drawn = page.evaluate("[window.heard[0], window.drawn[0]]")
        found.append(((ended - changed) * 1000, heard - changed * 1000, drawn - changed * 1000))
    return found


def report(found: list[tuple[float, float, float]]) -> Table:
    """Medians and worst values, and how much later than the tick each comes."""
    table = Table(title=f"from a change of all 15 symbols in the file, {len(found)} times, milliseconds")
    for heading in ("to", "median", "worst", "beyond the tick, median", "worst"):
        table.add_column(heading, justify="left" if heading == "to" else "right")
    for place, name in enumerate(("the end of the tick", "the event in the browser", "the bar in the chart")):
        after = [each[place] for each in found]
        beyond = [each[place] - each[0] for each in found]
        figures = (statistics.median(after), max(after), statistics.median(beyond), max(beyond))
        table.add_row(name, *(f"{figure:,.0f}" for figure in figures))
    return table


@click.command()
@click.option("--changes", default=50, show_default=True, help="How often the file changes.")
def main(changes: int) -> None:
    """Measure how long a change in the SQLite file takes to the browser.

    Example: python -m benchmarks.freshness --changes 20
    """
    project = load_project()
    with tempfile.TemporaryDirectory() as name, embedded_server(Path(name) / "postgres") as server:
        path, home = Path(name) / "bench.db", Path(name) / "home"
        source = Source(path, project.symbols, project.timeframes, 10, SQL / "sqlite_schema.sql")
        uri = server.fresh_database("freshness")
        settings = Settings(sqlite_path=path, postgresql_uri=SecretStr(uri), tradehouse_home=home)
        port = free_port()
        environment = {"POSTGRESQL_URI": uri, "TRADEHOUSE_HOME": str(home), "LOG_LEVEL": "WARNING"}
        with Runner(settings, project, Mt5Source(settings, project)) as runner:
            runner.run("sync")
            add_keys(uri)
            with (
                running([str(TRADEHOUSE), "serve", "--port", str(port)], environment, port),
                chart(f"http://127.0.0.1:{port}") as page,
            ):
                Console(width=110).print(report(measure(source, runner, page, changes)))


if __name__ == "__main__":
    main()
