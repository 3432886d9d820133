"""What `tradehouse bybit` shows of trades: lists, sums, files that are exact, a page, and the comparison with Bybit."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from playwright.sync_api import sync_playwright

from tests.support.bybit_items import DAY, days_ago, execution
from tests.support.bybit_world import BybitWorld

# What these print does not depend on the server, and starting the command for each takes a while.
pytestmark = pytest.mark.only_on("embedded")

CHROMIUM = Path("/usr/bin/chromium")
BOT, OTHER = "shortseller_001", "momentum_001"


def test_lists_sums_files_and_the_page(bybit_world: BybitWorld) -> None:
    world = bybit_world
    world.settings["BYBIT_CATEGORIES"] = "linear,spot"
    noon = days_ago(3) // DAY * DAY + DAY // 2
    big = {"execQty": "999999999999999.12345678", "execFee": "0.000000000000000001", "closedSize": ""}
    world.fake.add(
        [
            execution("in", noon, side="Buy", execPrice="1", **big),
            execution("out", noon + 1, side="Sell", execPrice="1.00000001", **big, orderLinkId=f"{BOT}-tp"),
            execution(
                "lost-in", noon + 2, side="Buy", execPrice="100", orderLinkId=f"{OTHER}-e", execQty="2", execFee="0"
            ),
            execution(
                "lost", noon + 3, side="Sell", execPrice="97", orderLinkId=f"{OTHER}-sl", execQty="1", execFee="0"
            ),
            execution("funding", noon + 4, execType="Funding", side="Buy", execQty="1", execFee="0.25", execPrice="90"),
            execution("moved", noon + 5, execType="CorporateAction"),
            execution("broken", noon + 6, execQty="many"),
        ]
    )
    world.backfill()
    net = "9999999.999999991234567798"  # quantity x 0.00000001 - 2 fees

    trades = list(csv.DictReader(io.StringIO(world.bybit("trades", "--format", "csv"))))
    assert [trade["net_pnl"] for trade in trades] == ["-3", net]
    assert trades[1]["exit_time"] == datetime.fromtimestamp((noon + 1) / 1000, timezone.utc).isoformat()
    [newest] = json.loads(world.bybit("trades", "--limit", "1", "--format", "json"))
    assert (newest["bot_id"], newest["symbol"], newest["entry_qty"]) == (OTHER, "BTCUSDT", "1")
    assert [each["bot_id"] for each in json.loads(world.bybit("trades", "--bot", BOT, "--format", "json"))] == [BOT]
    file = world.directory / "trades.parquet"
    world.bybit("trades", "--format", "parquet", "--output", str(file))
    exact = f"select net_pnl::varchar, typeof(entry_qty) from '{file}' order by net_pnl desc"
    assert duckdb.sql(exact).fetchall()[0] == (net, "DECIMAL(38,8)")
    assert "parquet needs --output" in world.bybit("trades", "--format", "parquet", code=2)
    assert "is no bot" in world.bybit("trades", "--bot", "nobody", code=2)

    [lot] = json.loads(world.bybit("open", "--format", "json"))
    assert (lot["bot_id"], lot["open_qty"], lot["last_price"], lot["unrealised_pnl"]) == (OTHER, "1", "97", "-3")
    day = datetime.fromtimestamp(noon / 1000, timezone.utc).date()
    monday = day - timedelta(days=day.weekday())
    for command, column, first in (
        ("daily", "day", day),
        ("weekly", "week", monday),
        ("monthly", "month", day.replace(day=1)),
    ):
        [row] = json.loads(world.bybit(command, "--format", "json", "--bot", OTHER))
        assert row[column] == first.isoformat()
        assert (row["net_pnl"], row["funding_pnl"], row["total_pnl"]) == ("-3", "-0.25", "-3.25")
    assert {row["bot_id"]: row["longest_losing_streak"] for row in json.loads(
        world.bybit("performance", "--format", "json")
    )} == {BOT: 0, OTHER: 1}  # fmt: skip
    for by, group in (("symbol", "BTCUSDT"), ("reason", "sl"), ("hour", 12)):
        [row] = json.loads(world.bybit("performance", "--by", by, "--format", "json", "--bot", OTHER))
        assert (row[by], row["trades"], Decimal(row["expectancy"])) == (group, 1, Decimal(-3))
    assert f"{day:%a}" in world.bybit("performance", "--by", "weekday")
    # what the other bot bought is not all sold: a trade, and no position yet
    positions = json.loads(world.bybit("performance", "--positions", "--format", "json"))
    assert [(row["bot_id"], row["trades"], row["net_pnl"]) for row in positions] == [(BOT, 1, net)]
    assert "--positions counts by bot" in world.bybit("performance", "--positions", "--by", "hour", code=2)
    assert "backfill" in world.bybit("status")

    stats = world.bybit("stats")
    for words in ("1 executions unmatched", "1 executions rejected", "-3.25"):
        assert words in stats
    page = world.directory / "report.html"
    assert f"written: {page}" in world.bybit("report", "--output", str(page))
    written = page.read_text(encoding="utf-8")
    assert "<script" not in written
    assert "http" not in written
    for words in ("Equity: momentum_001, linear", "<svg", "Months: linear", "9,999,996.75"):
        assert words in written
    assert "report.html" in world.bybit("report", "--output", "/nowhere/report.html", code=2)


def test_the_report_opens_in_a_browser_and_asks_for_nothing(bybit_world: BybitWorld) -> None:
    if not CHROMIUM.exists():
        pytest.skip("Chromium is not installed")
    bybit_world.fake.generate(600, days_ago(29), days_ago(0.1))
    bybit_world.backfill()
    page_file = bybit_world.directory / "report.html"
    bybit_world.bybit("report", "--output", str(page_file))
    asked: list[str] = []
    faults: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(page_file.as_uri())
        headings = page.locator("h2").all_inner_texts()
        curves = page.locator("svg polyline").count()
        widest = page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        page.screenshot(path=str(bybit_world.directory / "report.png"), full_page=True)
        browser.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert faults == []
    assert widest, "the page is wider than the window"
    assert curves == 3  # a bot each
    assert {"By positions, from flat to flat", "Months: linear", "By exit reason", "Open"} <= set(headings)


def test_reconcile_lists_what_differs_from_bybits_closed_pnl(bybit_world: BybitWorld) -> None:
    world = bybit_world
    day = days_ago(9) // DAY * DAY
    for number, (symbol, at) in enumerate((("AUSDT", day), ("BUSDT", day), ("CUSDT", days_ago(1) // DAY * DAY))):
        common = {"symbol": symbol, "execQty": "1", "execFee": "0.05"}
        world.fake.add(
            [
                execution(f"in{number}", at + 1000, side="Buy", execPrice="100", **common),
                execution(f"out{number}", at + 2000, side="Sell", execPrice="110", **common),
            ]
        )
    world.backfill()

    def record(symbol: str, at: int, pnl: str, **more: str) -> dict[str, str]:
        return {"symbol": symbol, "orderId": f"{symbol}{pnl}", "updatedTime": str(at), "closedPnl": pnl, **more}

    world.fake.set_closed_pnl(
        [
            record("AUSDT", day + 2000, "4.9"),
            record("AUSDT", day + 2500, "5"),
            record("AUSDT", day + 2600, "77", execType="MovePosition"),
            record("BUSDT", day + 2000, "8.9"),
            record("DUSDT", day + 2000, "1"),
        ]
    )
    printed = world.bybit("reconcile", code=1)
    assert printed.splitlines()[-1] == "1 of 4 symbols and days agree with Bybit"
    assert [symbol for symbol in ("AUSDT", "BUSDT", "CUSDT", "DUSDT") if symbol in printed] == [
        "BUSDT",
        "CUSDT",
        "DUSDT",
    ]
    found = {each["symbol"]: each for each in json.loads(world.bybit("reconcile", "--json", code=1))}
    assert {symbol: (each["ours"], each["bybits"], each["difference"]) for symbol, each in found.items()} == {
        "AUSDT": ("9.9", "9.9", "0.0"),
        "BUSDT": ("9.9", "8.9", "1.0"),
        "CUSDT": ("9.9", None, "9.9"),
        "DUSDT": (None, "1", "-1"),
    }
    assert "1 of 1 symbols" in world.bybit("reconcile", "--days", "2", "--tolerance", "10")
