"""The chart in a real browser: bars, switches, paging back, changes while it is open, and what FREE sees."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import BARS, HOUR, Open, Site
from tests.support.collector import bar

pytestmark = pytest.mark.only_on("embedded")

WITHHELD = ("tema", "hrma", "smma", "keltner", "zigzag", "momentum")


def candle(page: Page, time: int) -> list[str]:
    """The cells of a bar in the hidden table."""
    row = page.locator(f'[data-testid=candlestick][data-time="{time}"]')
    return [str(text) for text in row.locator("th, td").all_text_contents()]


def test_the_chart_has_the_bars_of_the_warehouse(site: Site, visit: Open) -> None:
    page = visit("/chart/eurusd.i/h1", "PRO")
    page.ready(1000)
    expected = bar(site.newest)
    assert candle(page.page, site.newest)[1:] == [str(expected[name]) for name in ("open", "high", "low", "close")]
    assert page.page.get_by_test_id("candlestick").count() == 1000
    assert page.page.get_by_test_id("fractal-marker").count() == 2
    assert page.page.get_by_test_id("trendline").count() == 4
    expect(page.page.get_by_test_id("confluence-score")).to_contain_text("of 10")
    assert page.page.title() == "EURUSD H1 · Tradehouse"
    assert page.page.locator("#tv-attr-logo").is_visible()


def test_scrolling_back_loads_older_bars(site: Site, visit: Open) -> None:
    page = visit("/chart/EURUSD/H1", "PRO")
    page.ready(1000)
    page.page.get_by_test_id("trading-chart").focus()
    page.page.keyboard.press("Home")
    page.ready(BARS)
    oldest = site.newest - (BARS - 1) * HOUR
    assert candle(page.page, oldest)[4] == str(bar(oldest)["close"])
    times = page.page.get_by_test_id("candlestick").evaluate_all("rows => rows.map(row => Number(row.dataset.time))")
    assert times == [oldest + place * HOUR for place in range(BARS)]


def test_symbol_and_timeframe_switch_without_a_reload(visit: Open) -> None:
    page = visit("/chart/EURUSD/H1", "PRO")
    page.ready(1000)
    page.page.evaluate("window.same = true")
    page.page.get_by_label("Symbol").select_option("GBPJPY")
    page.ready(100)
    expect(page.page.get_by_test_id("candlestick")).to_have_count(100)
    page.page.get_by_role("radio", name="H4").check(force=True)
    page.page.wait_for_url("**/chart/GBPJPY/H4")
    page.ready()
    assert int(page.page.get_by_test_id("trading-chart").get_attribute("data-bars") or 0) in (25, 26)
    page.page.go_back()
    page.page.wait_for_url("**/chart/GBPJPY/H1")
    page.ready(100)
    assert page.page.get_by_role("radio", name="H1", exact=True).is_checked()
    with page.page.expect_response(lambda answer: "bars=sampled" in answer.url):
        page.page.get_by_role("radio", name="Sampled", exact=True).check(force=True)
    page.ready(100)
    assert page.page.evaluate("window.same")


def test_overlays_are_switched_by_the_keyboard_and_remembered(visit: Open) -> None:
    page = visit("/chart/EURUSD/H1", "PRO")
    page.ready(1000)
    for name, what in (("Fractals", "fractal-marker"), ("Trendlines", "trendline")):
        page.page.get_by_role("checkbox", name=name).focus()
        page.page.keyboard.press("Space")
        expect(page.page.get_by_test_id(what)).to_have_count(0)
    page.page.reload()
    page.ready(1000)
    assert page.page.get_by_test_id("fractal-marker").count() == 0
    page.page.get_by_role("checkbox", name="Fractals").check(force=True)
    expect(page.page.get_by_test_id("fractal-marker")).to_have_count(2)


def test_free_sees_what_pro_would_add(visit: Open) -> None:
    page = visit("/chart/EURUSD/H1")
    page.ready(1000)
    for name in WITHHELD:
        assert page.page.locator(f"#show-{name}").is_disabled()
    assert page.page.get_by_role("checkbox", name="Fractals").is_enabled()
    assert page.page.get_by_role("radio", name="M5").is_disabled()
    assert page.page.locator('option[value="GBPJPY"]').is_disabled()
    assert "PRO" in page.page.locator("#upgrade").inner_text()
    assert "Refreshed every 60 s" in page.page.locator("#live").inner_text()
    assert page.page.get_by_test_id("confluence-score").is_hidden()


def test_free_is_told_where_it_may_not_go(visit: Open) -> None:
    page = visit("/chart/GBPJPY/H1", allowed=("403",))
    page.ready(0)
    expect(page.page.locator("#chart-message")).to_have_text("GBPJPY is not in the tier FREE.")


def test_a_new_bar_appears_in_the_open_chart(site: Site, visit: Open) -> None:
    page = visit("/chart/EURUSD/H1", "PRO")
    page.ready(1000)
    expect(page.page.locator("#live")).to_have_text("Live")
    page.page.evaluate("window.same = true")
    new = site.newest + HOUR
    assert candle(page.page, new) == []
    site.world.collector.write("EURUSD", [bar(new)])
    site.world.sync()
    page.ready(1001)
    assert candle(page.page, new)[4] == str(bar(new)["close"])
    # a later M5 bar of the same hour changes the true candle, and not the table of H1
    site.world.collector.write("EURUSD", [bar(new + 300, close=1.1234, high=1.2)])
    site.world.sync()
    expect(page.page.locator(f'[data-testid=candlestick][data-time="{new}"]')).to_contain_text("1.1234")
    page.ready(1001)
    assert page.page.evaluate("window.same")
