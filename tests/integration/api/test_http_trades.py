"""Trades and accounts over HTTP, from the warehouse's own functions: what psql shows is what a client gets."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.integration.api.test_answers import land
from tests.support.accounts_world import AccountsWorld
from tests.support.api_stand_ins import ADMIN_KEY, PRO_KEY, add_tiers_and_keys
from tests.support.api_world import ApiWorld
from tests.support.bybit_world import BybitWorld
from tests.support.fake_mt5 import info, position, trade
from tests.support.trade_house import fill
from tests.support.world import World

pytestmark = pytest.mark.only_on("embedded")


def asked_in_psql(world: World, call: str) -> Any:
    [(text,)] = world.query(f"select ({call})::text")
    return json.loads(text)


def test_trades_over_http_are_those_of_the_warehouse(bybit_world: BybitWorld) -> None:
    fills = [
        fill(1, "Buy", 1, 10, execFee="0.1"),
        fill(2, "Sell", 1, 12),
        fill(3, "Sell", 2, 10, minute=90),
        fill(4, "Buy", 1, 9, minute=24 * 60),
    ]
    land(bybit_world, fills)
    add_tiers_and_keys(bybit_world.uri)
    with ApiWorld(bybit_world.uri).serving() as running:
        client = running.client(ADMIN_KEY)
        answers = {}
        for path, call in {
            "summary": "api.trades_summary()",
            "equity-curve": "api.trades_equity_curve()",
            "pnl-by-time": "api.trades_pnl_by_time()",
            "exit-reasons": "api.trades_exit_reasons()",
            "open-lots": "api.trades_open_lots()",
            "completed": "api.trades_completed(100, 0)",
            "completed?limit=1&offset=1": "api.trades_completed(1, 1)",
        }.items():
            got = client.get(f"/api/trades/{path}")
            assert (got.status, got.headers["cache-control"]) == (200, "no-store"), path
            assert got.json == asked_in_psql(bybit_world, call), path
            answers[path] = got.json
        # by hand: 12 - 10 - 0.1 on the first day, 10 - 9 at the midnight after it
        [curve] = answers["equity-curve"]["curves"]
        assert [point["cumulative_pnl"] for point in curve["points"]] == [1.9, 2.9]
        [market] = answers["pnl-by-time"]["markets"]
        assert [(day["exit_date"], day["total_pnl"]) for day in market["days"]] == [
            ("2025-01-06", 1.9),
            ("2025-01-07", 1),
        ]
        assert [each["net_pnl"] for each in answers["completed"]["trades"]] == [1, 1.9]
        assert [each["net_pnl"] for each in answers["completed?limit=1&offset=1"]["trades"]] == [1.9]
        assert [each["total_trades"] for each in answers["summary"]["summary"]] == [1, 1]
        assert sum(each["total_trades"] for each in answers["exit-reasons"]["exit_reasons"]) == 2
        [lot] = answers["open-lots"]["open_lots"]
        assert (lot["symbol"], lot["open_qty"]) == ("BTCUSDT", 1)
        assert running.client(PRO_KEY).get("/api/trades/pnl-by-time").status == 403


def test_accounts_over_http_are_those_of_the_warehouse(accounts_world: AccountsWorld) -> None:
    accounts_world.register("a")
    accounts_world.fake.account("a", info(1000.5), [position(1)], [trade(9, int(time.time()) - 1800)])
    accounts_world.poll()
    add_tiers_and_keys(accounts_world.uri)
    with ApiWorld(accounts_world.uri).serving() as running:
        got = running.client(ADMIN_KEY).get("/api/accounts")
        assert got.status == 200, got.body
        assert got.json == asked_in_psql(accounts_world, "api.accounts()")
        [account] = got.json["accounts"]
        assert (account["account_id"], account["balance"], len(account["positions"])) == ("a", 1000.5, 1)
        assert running.client(PRO_KEY).get("/api/accounts").status == 403
