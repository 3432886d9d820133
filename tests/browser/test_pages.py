"""All pages in a real browser: signing in, the theme, trades; each page is clean, accessible and fits a phone."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_core_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.conftest import Open, Site

pytestmark = pytest.mark.only_on("embedded")

PAGES = {
    "/": "[data-testid=overview-row]",
    "/chart/EURUSD/H1": '[data-testid=trading-chart][data-ready="true"]',
    "/confluence/EURUSD": "[data-testid=breakdown-row]",
    "/market?search=re": "[data-testid=instrument]",
    "/market/1/1d": '[data-testid=trading-chart][data-ready="true"]',
    "/trades": "main[data-ready]",
    "/accounts": "main[data-ready]",
    "/login": "#key",
}
COLOURED_COLUMNS = """(place) => {
    const found = [];
    for (const canvas of document.querySelectorAll(`${place} canvas`)) {
        if (!canvas.width || !canvas.height) continue;
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        for (let x = 0; x < canvas.width; x++) {
            for (let y = 0; y < canvas.height; y++) {
                const [red, green, blue] = data.slice(4 * (y * canvas.width + x), 4 * (y * canvas.width + x) + 3);
                const colour = `${red},${green},${blue}`;
                const kind = { "38,166,154": "up", "239,83,80": "down" }[colour];
                if (kind && found.at(-1) !== kind) found.push(kind);
            }
        }
    }
    return found;
}"""
"""Which colours of bars a chart shows, from the left to the right."""
BACKGROUND = "getComputedStyle(document.body).backgroundColor"


def trade(number: int) -> dict[str, Any]:
    """A completed trade as the API lists it; every third one loses."""
    pnl = -2.5 if number % 3 == 0 else 2
    return {
        "trade_id": f"t{number}",
        "bot_id": "=bot" if number == 1 else "bot_1",
        "category": "linear",
        "symbol": "BTCUSDT",
        "entry_side": "Buy",
        "entry_qty": 0.001,
        "entry_price": 20000,
        "exit_price": 20010.5,
        "exit_time": f"2026-01-05T10:{number % 60:02d}:00.000000Z",
        "net_pnl": pnl,
        "pnl_pct": 0.1,
        "holding_duration_seconds": 90,
        "exit_reason": "signal, or stop",
    }


TRADES = [trade(number) for number in range(60)]
SUMS = {
    "bot_id": "bot_1",
    "category": "linear",
    "symbol": "BTCUSDT",
    "exit_reason": "signal",
    "total_trades": 60,
    "winning_trades": 40,
    "market": "linear",
    "total_pnl": 30,
    "total_fees": 1.5,
}
COUNTED = {"total_trades": 30, "winning_trades": 20, "total_fees": 0.75}
ANSWERS: dict[str, dict[str, Any]] = {
    "trades_summary()": {"summary": [SUMS | {"exit_date": "2026-01-05"}]},
    "trades_exit_reasons()": {"exit_reasons": [SUMS]},
    "trades_equity_curve()": {
        "curves": [
            {
                "market": "linear",
                "points": [
                    {"time": f"2026-01-05T10:0{minute}:00Z", "cumulative_pnl": total}
                    for minute, total in enumerate([10, 4, 12, 7])
                ],
            }
        ]
    },
    "trades_pnl_by_time()": {
        "markets": [
            {
                "market": "linear",
                "days": [
                    {"exit_date": "2026-01-02", **COUNTED, "total_pnl": -12.5},
                    {"exit_date": "2026-01-05", **COUNTED, "total_pnl": 42.5},
                ],
                "hours": [
                    {"exit_hour": 9, **COUNTED, "total_pnl": 50},
                    {"exit_hour": 23, **COUNTED, "total_pnl": -20.25},
                ],
            }
        ]
    },
    "accounts()": {
        "accounts": [
            {
                "account_id": "alpha",
                "balance": 1234.5,
                "sync_failure_count": 2,
                "last_connection_error": "no route",
                "positions": [{"account_id": "alpha", "ticket": "7", "symbol": "EURUSD", "profit": -3.25}],
            }
        ],
        "failures": [{"account_id": "alpha", "failed_syncs": 2, "partial_syncs": 0, "last_error": "no route"}],
    },
}


@pytest.fixture(scope="module")
def trading(site: Site) -> Site:
    """Trades and accounts. What the real functions answer is tested where they are."""
    for function, answer in ANSWERS.items():
        content = json.dumps({"success": True, **answer}).replace("'", "''")
        statement = f"create function api.{function} returns json language sql as $$ select '{content}'::json $$"
        site.world.execute(statement)
    every = json.dumps(TRADES)
    site.world.execute(
        "create function api.trades_completed(row_limit integer, row_offset integer) returns json language sql as $$"
        " select json_build_object('success', true, 'total_count', 60, 'trades', (select json_agg(trade) from"
        f" (select trade from json_array_elements('{every}') as trade limit row_limit offset row_offset) as page)) $$"
    )
    return site


@pytest.mark.parametrize(("scheme", "size"), [("dark", "desktop"), ("light", "phone")])
@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_clean_accessible_and_fits(
    trading: Site,  # noqa: ARG001
    visit: Open,
    path: str,
    scheme: Literal["dark", "light"],
    size: str,
) -> None:
    page = visit(path, "ADMIN", scheme, size).page
    page.wait_for_selector(PAGES[path])
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    found = Axe().run(page)["violations"]
    serious = [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")]
    assert serious == []


def test_signing_in_and_out(site: Site, visit: Open) -> None:
    page = visit("/login?next=/chart/gbpjpy/m5", allowed=("401",)).page
    page.get_by_label("API key").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("This key is unknown, has expired or was revoked.")
    page.get_by_label("API key").fill(site.keys["PRO"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/chart/gbpjpy/m5")
    expect(page.locator("#tier")).to_have_text("PRO")
    [cookie] = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    assert site.keys["PRO"] not in cookie["value"]
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login")
    assert page.context.cookies() == []
    page.goto("/")
    expect(page.locator("#tier")).to_have_text("FREE")


def test_the_theme_follows_the_system_until_it_is_chosen(visit: Open) -> None:
    page = visit("/login", scheme="dark").page
    dark = page.evaluate(BACKGROUND)
    page.emulate_media(color_scheme="light")
    light = page.evaluate(BACKGROUND)
    assert dark != light
    page.get_by_role("button", name="Switch to the dark theme").click()
    assert page.evaluate(BACKGROUND) == dark
    page.reload()
    assert page.evaluate(BACKGROUND) == dark


def test_the_overview_shows_what_is_late_and_why(site: Site, visit: Open) -> None:
    site.world.sync()  # else the run is late, where the tests before took long
    page = visit("/").page
    rows = page.get_by_test_id("overview-row")
    expect(rows).to_have_count(5)
    eurusd = page.locator('[data-symbol="EURUSD"]')
    assert eurusd.get_by_role("link").count() == 4  # the symbol, H1, H4 and D1
    assert "tables are" in page.locator("#health").inner_text()
    assert "no bar" in page.locator("#problems").inner_text()  # BTCUSD has none
    assert "PRO adds 120 more tables" in page.locator("#upgrade").inner_text()


def test_the_score_is_broken_down_by_timeframe(visit: Open) -> None:
    page = visit("/confluence/EURUSD", "PRO").page
    expect(page.get_by_test_id("breakdown-row")).to_have_count(9)
    assert 0 <= float(page.get_by_test_id("confluence-score").inner_text()) <= 10


def test_trades_and_their_csv(trading: Site, visit: Open, tmp_path: Path) -> None:  # noqa: ARG001
    page = visit("/trades", "ADMIN").page
    page.wait_for_selector("main[data-ready]")
    tiles = page.locator("#tiles").inner_text().split("\n")
    assert tiles == ["Net PnL", "30.00", "Trades", "60", "Won", "66.7 %", "Fees", "1.50", "Deepest drawdown", "-6.00"]
    assert page.locator("#trades tbody tr").count() == 50
    page.get_by_role("button", name="Older").click()
    expect(page.locator("#page-of")).to_have_text("51 to 60 of 60")
    assert page.locator("#trades tbody tr").count() == 10
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download CSV").click()
    downloading.value.save_as(tmp_path / "trades.csv")
    with (tmp_path / "trades.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["trade_id"] for row in rows] == [each["trade_id"] for each in TRADES]
    assert rows[0]["exit_reason"] == "signal, or stop"
    assert (rows[0]["net_pnl"], rows[1]["bot_id"]) == ("-2.5", "'=bot")


@pytest.mark.parametrize(("scheme", "size"), [("dark", "desktop"), ("light", "phone")])
def test_profit_by_day_and_by_hour(
    trading: Site,  # noqa: ARG001
    visit: Open,
    scheme: Literal["dark", "light"],
    size: str,
) -> None:
    page = visit("/trades", "ADMIN", scheme, size).page
    page.wait_for_selector("main[data-ready]")
    rows = {
        name: [row.split("\t") for row in page.locator(f"#{name} tbody tr").all_inner_texts()]
        for name in ("days", "hours")
    }
    assert rows["days"] == [
        ["2026-01-05", "30", "66.7 %", "42.50", "0.75"],
        ["2026-01-02", "30", "66.7 %", "-12.50", "0.75"],
    ]
    assert rows["hours"] == [
        ["09:00", "30", "66.7 %", "50.00", "0.75"],
        ["23:00", "30", "66.7 %", "-20.25", "0.75"],
    ]
    assert page.locator("#hours tbody .down").inner_text() == "-20.25"
    assert page.evaluate(COLOURED_COLUMNS, "#days-chart") == ["down", "up"]
    assert page.evaluate(COLOURED_COLUMNS, "#hours-chart") == ["up", "down"]


def test_pages_of_other_tiers_say_so(visit: Open) -> None:
    for path, said in (
        ("/confluence/EURUSD", "The confluence is part of PRO."),
        ("/trades", "Trades are shown to admin keys only."),
        ("/market", "The Indian market is part of PRO."),
        ("/Market/1/nope", "The Indian market is part of PRO."),
        ("/chart/NOPE/H1", "Unknown symbol 'nope'"),
    ):
        page = visit(path, allowed=("403", "400")).page
        expect(page.locator("#failure")).to_contain_text(said)
