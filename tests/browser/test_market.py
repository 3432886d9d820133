"""The pages of the Indian market in a real browser: search by keyboard, the chart with its panes, paging back."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import DAYS, RELIANCE, RELIANCE_BSE, Open, Site

pytestmark = pytest.mark.only_on("embedded")

CHART = f"/market/{RELIANCE}/1d"
PANES = "document.querySelectorAll('#chart tr').length"
"""Rows of the library's own table: one a pane, one between two, and the time axis."""


def rows(page: Page) -> list[list[str]]:
    """The hidden table, row by row."""
    found = page.get_by_test_id("candlestick").evaluate_all(
        "rows => rows.map(row => [row.dataset.time, ...[...row.cells].map(cell => cell.textContent)])"
    )
    return [[str(cell) for cell in row] for row in found]


def as_javascript(value: object) -> str:
    """A value as JavaScript writes it."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def stored(site: Site) -> list[list[str]]:
    """What the hidden table has to show of RELIANCE's days."""
    found = site.world.query(
        "select extract(epoch from timestamp)::bigint, (timestamp at time zone 'Asia/Kolkata')::date, open, high, low,"
        " close, volume, rsi_14, macd from market.candle_data left join market.indicator_data"
        f" using (instrument_id, timeframe, timestamp) where instrument_id = {RELIANCE} and timeframe = '1d'"
        " order by timestamp"
    )
    return [["" if value is None else as_javascript(value) for value in row] for row in found]


def test_search_by_keyboard_leads_to_the_chart(visit: Open) -> None:
    page = visit("/", "PRO").page
    page.get_by_role("link", name="Market").click()
    page.wait_for_url("**/market")
    expect(page.get_by_label("Name or trading symbol")).to_be_focused()
    page.keyboard.type("rElIaNcE iNd")
    expect(page.get_by_test_id("instrument")).to_have_count(2)
    expect(page.locator("#count")).to_have_text("2 instruments")
    assert "1m, 1d" in page.get_by_test_id("instrument").first.inner_text()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{CHART}")
    page.wait_for_selector('[data-testid=trading-chart][data-ready="true"]')
    assert page.title() == "RELIANCE 1d · Tradehouse"
    page.go_back()
    expect(page.get_by_test_id("instrument")).to_have_count(2)  # the address has the search
    page.get_by_label("Name or trading symbol").fill("nifty")
    expect(page.get_by_test_id("instrument")).to_have_count(1)
    expect(page.get_by_test_id("instrument")).to_have_text("NIFTY Nifty 50NSE_INDEX · INDEX · no bars yet")
    page.get_by_label("Name or trading symbol").fill("nothing")
    expect(page.locator("#count")).to_have_text("No instrument has this in its symbol or name.")


def test_the_chart_has_the_bars_of_the_warehouse_and_loads_older_ones(site: Site, visit: Open) -> None:
    page = visit(CHART, "PRO")
    page.ready(1000)
    expected = stored(site)
    assert len(expected) == DAYS
    assert rows(page.page) == expected[-1000:]
    page.page.get_by_test_id("trading-chart").focus()
    page.page.keyboard.press("Home")
    page.ready(DAYS)
    assert rows(page.page) == expected
    assert "Times are India's" in page.page.locator("footer").inner_text()
    legend = page.page.locator("#legend").inner_text()
    assert all(name in legend for name in ("RELIANCE 1d", "SMA 20", "RSI", "MACD", "Volume"))


def test_indicators_are_switched_and_remembered(visit: Open) -> None:
    page = visit(CHART, "PRO")
    page.ready(1000)
    before = page.page.evaluate(PANES)
    for name in ("RSI", "MACD"):
        page.page.get_by_role("checkbox", name=name).focus()
        page.page.keyboard.press("Space")
    assert page.page.evaluate(PANES) < before
    page.page.get_by_role("checkbox", name="Supertrend").check(force=True)
    page.page.get_by_role("checkbox", name="Pivots").check(force=True)
    expect(page.page.locator("#legend")).to_contain_text("Supertrend")
    expect(page.page.locator("#legend")).not_to_contain_text("RSI")
    page.page.reload()
    page.ready(1000)
    assert not page.page.get_by_role("checkbox", name="RSI").is_checked()
    expect(page.page.locator("#legend")).to_contain_text("Supertrend")
    page.page.get_by_role("checkbox", name="RSI").check(force=True)
    expect(page.page.locator("#legend")).to_contain_text("RSI")


def test_the_timeframe_switches_without_a_reload(visit: Open) -> None:
    page = visit(CHART, "PRO", allowed=("404",))
    page.ready(1000)
    page.page.evaluate("window.same = true")
    page.page.get_by_role("radio", name="1m").check(force=True)
    page.page.wait_for_url(f"**/market/{RELIANCE}/1m")
    page.ready(750)
    assert rows(page.page)[0][1] == "2025-03-03 09:15"
    page.page.get_by_role("radio", name="1h").check(force=True)
    expect(page.page.locator("#chart-message")).to_contain_text("has no bars")
    page.page.go_back()
    page.page.go_back()
    page.page.wait_for_url(f"**{CHART}")
    page.ready(1000)
    assert page.page.evaluate("window.same")


def test_a_symbol_of_several_instruments_lets_the_reader_choose(visit: Open) -> None:
    page = visit("/market/reliance/1d", "PRO", allowed=("400",)).page
    expect(page.locator("#chart-message")).to_contain_text("is the trading symbol of 2 instruments")
    page.get_by_role("link", name="RELIANCE, BSE_EQ").click()
    page.wait_for_url(f"**/market/{RELIANCE_BSE}/1d")
    page.wait_for_selector('[data-testid=trading-chart][data-bars="30"]')


def test_who_may_not_see_the_market_finds_no_link_to_it(visit: Open) -> None:
    page = visit("/").page
    expect(page.get_by_role("link", name="Chart", exact=True)).to_be_visible()
    assert page.get_by_role("link", name="Market").count() == 0
