"""Fixtures: one browser, one warehouse with bars, and one server for all tests of the pages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.conftest import Server, world_on
from tests.support.api_world import ApiWorld, Command
from tests.support.collector import series
from tests.support.indicator_oracle import walk
from tests.support.indicators_world import IndicatorsWorld
from tests.support.market_world import MarketWorld
from tests.support.servers import let_others_through
from tests.support.world import World

CHROMIUM = Path("/usr/bin/chromium")
HOUR = 3600
BARS = 1500
"""Hours of EURUSD; the chart asks for 1000 at a time."""
RELIANCE, RELIANCE_BSE = 1, 2
DAYS = 1200
"""Days of RELIANCE."""
SIZES = {"desktop": {"width": 1366, "height": 820}, "phone": {"width": 390, "height": 844}}


@dataclass
class Site:
    """The pages, and what stands behind them.

    Attributes:
        keys: by tier.
        newest: Unix seconds of the newest bar of EURUSD; the hour after it is over, too.
    """

    world: World
    command: Command
    keys: dict[str, str]
    newest: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.command.port}"


@dataclass
class Visit:
    """A page in a browser that remembers nothing of other tests, and what went wrong in it."""

    page: Page
    faults: list[str] = field(default_factory=list)

    def ready(self, bars: int | None = None) -> None:
        """Wait until the chart shows its bars, so many if given."""
        count = "" if bars is None else f'[data-bars="{bars}"]'
        self.page.wait_for_selector(f'[data-testid=trading-chart][data-ready="true"]{count}')


Open = Callable[..., Visit]


@pytest.fixture(scope="package")
def site(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """EURUSD, XAUUSD and GBPJPY, hour by hour, the market, and a running server."""
    directory = tmp_path_factory.mktemp("site")
    let_others_through(directory)
    newest = int(time.time()) // HOUR * HOUR - 2 * HOUR
    with world_on(server, directory, 10_000, server.served_database()) as world:
        world.collector.load_many("EURUSD", series(newest - (BARS - 1) * HOUR, BARS, HOUR))
        for symbol in ("XAUUSD", "GBPJPY"):
            world.collector.load_many(symbol, series(newest - 99 * HOUR, 100, HOUR))
        world.sync()
        keys = {
            tier: world.run("api-keys", "add", tier, "--tier", tier).stdout.strip() for tier in ("FREE", "PRO", "ADMIN")
        }
        write_market(world, directory)
        # the tests look at many pages within the hour
        world.execute("update api.tiers set requests_per_hour = 100000")
        with ApiWorld(world.uri).command(directory) as command:
            command.await_ready()
            yield Site(world, command, keys, newest)


def write_market(world: World, directory: Path) -> None:
    """Two shares with the same symbol, an index without bars, and the indicators of the first."""
    market = IndicatorsWorld(directory, world.home, world.uri, world.collector)
    market.write(RELIANCE, "1d", walk(3, DAYS, "1d", start="2020-01-01", price=1300).round(2))
    market.write(RELIANCE, "1m", walk(4, 750, price=1280).round(2))
    market.write(RELIANCE_BSE, "1d", walk(5, 30, "1d", price=1300).round(2))
    market.indicators("run")
    names = MarketWorld(world.uri)
    names.execute(
        "update market.instrument_master set trading_symbol = 'RELIANCE', name = 'Reliance Industries',"
        " segment = case instrument_id when %s then 'NSE_EQ' else 'BSE_EQ' end",
        RELIANCE,
    )
    names.instrument(9, "NIFTY", "Nifty 50", "INDEX", "NSE_INDEX")


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(site: Site, browser: Browser) -> Iterator[Open]:
    """Opens a page as somebody; at the end demands that nothing went wrong in it."""
    contexts: list[BrowserContext] = []
    visits: list[Visit] = []

    def open_page(
        path: str,
        tier: str | None = None,
        scheme: Literal["dark", "light"] = "dark",
        size: str = "desktop",
        allowed: tuple[str, ...] = (),
    ) -> Visit:
        context = browser.new_context(color_scheme=scheme, viewport=SIZES[size], base_url=site.address)  # type: ignore[arg-type]
        context.set_default_timeout(15_000)
        contexts.append(context)
        if tier:
            context.request.post("/login", form={"key": site.keys[tier], "next": "/login"})
        visit = Visit(context.new_page())
        visits.append(visit)
        _watch(visit, site.address, allowed)
        visit.page.goto(path)
        return visit

    yield open_page
    for context in contexts:
        context.close()
    assert [fault for visit in visits for fault in visit.faults] == []


def _watch(visit: Visit, address: str, allowed: tuple[str, ...]) -> None:
    """Note requests to elsewhere, errors of scripts, and what the console says, such as a breach of the policy."""

    def note(what: str) -> None:
        if not any(each in what for each in allowed):
            visit.faults.append(what)

    def requested(request: Any) -> None:
        if not request.url.startswith((f"{address}/", "data:", f"blob:{address}/")):
            note(f"request to {request.url}")

    def said(message: Any) -> None:
        if message.type in ("error", "warning"):
            note(f"console: {message.text}")

    visit.page.on("request", requested)
    visit.page.on("console", said)
    visit.page.on("pageerror", lambda error: note(f"script: {error}"))
