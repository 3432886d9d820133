"""MT5 accounts: from the service's answers to balances, trades and logs, whatever it answers."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.accounts_world import AccountsWorld
from tests.support.fake_mt5 import KEY, info, iso, position, trade

embedded_only = pytest.mark.only_on("embedded")


def test_a_position_from_its_opening_to_its_end(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    world.register("a", "b")
    world.fake.account("a", info(1000), [position(1), position(2), position(3)], [])
    world.fake.account("b", info(2000), [position(1, volume=0.5, symbol="XAUUSD")], [])
    world.poll()
    assert world.statuses("a") == {"1": "open", "2": "open", "3": "open"}

    world.fake.account("a", positions=[position(1, profit=-3.25, current_price=1.09), position(3)])
    world.poll()
    assert world.statuses("a") == {"1": "open", "2": "closing", "3": "open"}
    assert [world.trades("a")["1"][name] for name in ("profit", "current_price")] == [-3.25, 1.09]

    closed = time.time() - 60
    world.fake.account("a", history=[trade(2, closed, profit=42.5, close_price=1.2, swap=-2.0)])
    world.poll()
    found = world.trades("a")["2"]
    assert found["status"] == "closed"
    assert (found["profit"], found["close_price"], found["swap"], found["current_price"]) == (42.5, 1.2, -2.0, None)
    assert datetime.fromisoformat(found["close_time"]).timestamp() == int(closed)
    assert (found["stop_loss"], found["take_profit"]) == (1.09, None)  # of the position: the history has none

    # the same ticket at another account is another trade, and corrected history is corrected
    world.fake.account("a", history=[trade(2, closed, profit=41.0), trade(1, closed)], positions=[position(3)])
    world.poll()
    assert world.statuses("a") == {"1": "closed", "2": "closed", "3": "open"}
    assert world.trades("a")["2"]["profit"] == 41.0
    assert (world.statuses("b"), world.trades("b")["1"]["symbol"]) == ({"1": "open"}, "XAUUSD")
    world.accounts("sync", "--test")


def test_a_position_closed_in_parts(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    world.register("a")
    world.fake.account("a", positions=[position(7, volume=1.0)])
    world.poll()
    parts = [trade(101, position_id=7, volume=0.4, close_price=1.2, profit=10)]
    world.fake.account("a", positions=[position(7, volume=0.6)], history=parts)
    world.poll()
    assert (world.statuses("a"), world.trades("a")["7"]["volume"]) == ({"7": "open"}, 0.6)
    world.fake.account("a", positions=[])
    world.poll()
    assert world.statuses("a") == {"7": "closing"}, "what was closed of it earlier is not the rest"
    parts.append(trade(102, position_id=7, volume=0.6, close_price=1.3, profit=20))
    world.fake.account("a", history=parts)
    world.poll()
    found = world.trades("a")["7"]
    assert (found["status"], found["volume"], found["profit"], found["close_price"]) == ("closed", 1.0, 30, 1.26)


def test_what_arrived_is_kept_and_what_did_not_is_named(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    world.register("a", "b")
    for account in "ab":
        world.fake.account(account, info(1000), [position(1), position(2)], [trade(9)])
    world.poll()
    world.fake.treat("a", "info", status=500, body="oops")
    world.fake.account("a", info(5), [position(2)], [trade(8)])
    result = world.poll(code=1)
    assert (result["a"]["status"], result["b"]["status"]) == ("partial", "success")
    assert result["a"]["error_message"] == f"info: {world.fake.url} answers HTTP 500 (tried 2 times)"
    assert world.standing("a") == (1000, 0, result["a"]["error_message"])
    assert world.statuses("a") == {"1": "closing", "2": "open", "8": "closed", "9": "closed"}

    # without a list of positions nothing is gone; the history still closes what it has
    world.fake.treat("a", "info")
    world.fake.treat("a", "positions", cut=True)
    world.fake.account("a", positions=[], history=[trade(2), trade(8)])
    result = world.poll(code=1)
    assert result["a"]["error_message"].startswith("positions: ")
    assert world.statuses("a") == {"1": "closing", "2": "closed", "8": "closed", "9": "closed"}
    assert world.standing("a")[0] == 5
    world.fake.treat("a", "positions")
    world.poll()
    assert world.standing("a") == (5, 0, None)
    assert world.statuses("a") == {"1": "closing", "2": "closed", "8": "closed", "9": "closed"}


def test_an_account_that_fails_hides_no_other(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    world.register("a", "b")
    for account in "ab":
        world.fake.account(account, info(1000), [position(1)], [trade(9)])
    world.poll()
    versions = "select account_id, ticket, xmin::text from accounts.trades order by 1, 2"
    before = world.query(versions)
    refusal = {"success": False, "error_code": "TERMINAL_DOWN", "error_message": f"no terminal for {KEY}"}
    world.fake.treat("a", body=json.dumps(refusal), status=503)
    for count in (1, 2, 3):
        result = world.poll(code=1)
        assert result["a"]["error_message"] == "TERMINAL_DOWN: no terminal for ***"
        assert world.standing("a") == (1000, count, "TERMINAL_DOWN: no terminal for ***")
        assert world.standing("b") == (1000, 0, None)
    assert world.query(versions) == before, "nothing has changed, and so nothing is rewritten"
    [(failed, error)] = world.query("select failed_syncs, last_error from accounts.recent_failures")
    assert (failed, error) == (3, "TERMINAL_DOWN: no terminal for ***")
    assert world.query("select account_id, syncs, success_rate_pct from accounts.account_success_rates order by 1") == [
        ("a", 4, 25),
        ("b", 4, 100),
    ]
    assert world.query("select sum(syncs) from accounts.sync_durations_by_hour") == [(8,)]
    logs = "select sync_type, status from accounts.sync_logs where account_id = 'a' order by run_id"
    assert world.query(logs) == [("manual", status) for status in ("success", "failed", "failed", "failed")]
    runs = "select (select array_agg(run_id order by run_id) from ops.sync_runs where command = 'accounts sync')"
    assert world.query(
        f"{runs} = array_agg(run_id order by run_id) from accounts.sync_logs where account_id = 'a'"
    ) == [(True,)]
    world.fake.treat("a")
    world.poll()
    assert world.standing("a") == (1000, 0, None)


NONSENSE: dict[str, dict[str, Any]] = {
    "is not JSON (HTTP 200, 17 bytes)": {"body": '{"success": true, '.strip()},
    "info: balance: input should be a finite number": {
        "body": '{"success": true, "data": {"balance": NaN}, "positions": [NaN], "trades": [Infinity]}'
    },
    "the reply is not one of the service's": {"body": "[]"},
    "the reply is about another account": {"body": '{"success": true, "account_id": "somebody\'s"}'},
    "positions: the reply has no list of positions": {
        "body": '{"success": true, "data": 1, "positions": {}, "trades": "x"}'
    },
    "redirects to another address": {"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}},
    "the service answers HTTP 404": {"status": 404, "body": "{}"},
    "the service does not accept MT5_SERVICE_API_KEY": {"status": 401},
    "does not answer": {"hang_up": True},
    "peer closed connection": {"cut": True},
    "answers with more than 8,388,608 bytes": {"flood": 100 * 1024 * 1024},
}


def test_nonsense_is_the_accounts_own_failure(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    accounts = {f"account {number}": fault for number, fault in enumerate(NONSENSE.values())}
    world.register(*accounts, "well")
    for account in [*accounts, "well"]:
        world.fake.account(account, info(1000), [position(1)], [trade(9)])
    for account, fault in accounts.items():
        world.fake.treat(account, **fault)
    result = world.poll(code=1)
    assert result.pop("well")["status"] == "success"
    assert {each["status"] for each in result.values()} == {"failed"}
    for message, each in zip(NONSENSE, result.values(), strict=True):
        assert message in each["error_message"]
    assert world.query("select account_id, count(*) from accounts.trades group by 1") == [("well", 2)]


@embedded_only
def test_items_that_cannot_land_are_listed_and_nothing_else_is_lost(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    world.register("a")
    world.fake.account("a", info(1000), [position(1), position(2)], [])
    world.poll()
    unusable = [
        position(2, volume="1"),
        position(3, open_time="9999-01-01T00:00:00Z"),
        position(4, profit=True),
        position(5, comment="a\0b"),
        {"symbol": "EURUSD"},
        "nothing",
    ]
    rows = [trade(10), trade(11, open_time=1e18), trade(12, type=[1])]
    world.fake.account("a", info(balance="much"), [position(1, profit=1.5), *unusable], rows)
    result = world.poll(code=1)["a"]
    assert result["status"] == "partial"  # none of the three is all there, and some of it landed
    assert "info: balance: input should be a valid number" in result["error_message"]
    assert (
        "positions: volume of ticket 2: input should be a valid number, and 5 more rejects" in result["error_message"]
    )
    assert world.trades("a")["1"]["profit"] == 1.5
    assert world.statuses("a") == {"1": "open", "2": "open", "10": "closed"}
    rejects = "select row_key, column_name from ops.rejected_rows where source = 'accounts' and resolved_at is null"
    found = {(key if "sha256" not in key else "digest", column) for key, column in world.query(rejects)}
    assert found == {
        ("info", "balance"),
        ("positions 2", "volume"),
        ("positions 3", "open_time"),
        ("positions 4", "profit"),
        ("positions 5", "payload"),
        ("digest", "ticket"),
        ("digest", "item"),
        ("history 11", "open_time"),
        ("history 12", "type"),
    }
    world.fake.account("a", info(1000), [position(1)], [trade(10)])
    world.poll()
    assert world.query(rejects) == []
    assert world.statuses("a") == {"1": "open", "2": "closing", "10": "closed"}


@embedded_only
def test_both_vocabularies_make_the_same_rows(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    world.register("ours", "native")
    opened = int(time.time()) - 5000
    ours = position(1, open_time=iso(opened), tp=1.3)
    past = trade(2, opened + 60, position_id=2)
    world.fake.account("ours", info(1000), [ours], [past])
    native_info = info(1000)
    native_info["margin_free"] = native_info.pop("free_margin")
    names = {"open_price": "price_open", "current_price": "price_current", "open_time": "time"}
    native = {names.get(name, name): value for name, value in ours.items()} | {"type": 0, "time": opened}
    names = {
        "open_price": "price_open",
        "close_price": "price_close",
        "open_time": "time_open",
        "close_time": "time_close",
    }
    native_past = {names.get(name, name): value for name, value in past.items()} | {
        "ticket": 999,
        "time_open": opened + 60 - 3600,
        "time_close": opened + 60,
    }
    world.fake.account("native", native_info, [native], [native_past])
    world.poll()
    for table in ("trades", "trading_accounts"):
        rows = world.query(
            f"select to_jsonb({table}) - array['account_id', 'id', 'last_sync_at', 'last_successful_sync_at'] from"
            f" accounts.{table} order by account_id{', ticket' if table == 'trades' else ''}"
        )
        assert len(rows) in (2, 4)
        assert rows[: len(rows) // 2] == rows[len(rows) // 2 :]


@embedded_only
def test_all_pages_are_read_and_a_failed_one_moves_no_mark(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    world.register("a")
    began = time.time()

    def asked_from(days: int) -> str:
        """What a history asks from that begins so many days before the newest poll."""
        [(started_at,)] = world.query("select max(started_at) from staging.mt5_sync_results")
        return iso((started_at - timedelta(days=days)).timestamp())

    rows = [trade(number, began - 60 * number) for number in range(1, 5001)]
    world.fake.account("a", info(1000), [], rows)
    world.fake.treat("a", "history", times=2, status=500)
    world.poll(code=1)
    [first, retried] = [each for each in world.fake.requests() if "history" in each]
    assert first == retried
    assert from_date(first) == asked_from(days=30)
    world.poll()
    pages = [each for each in world.fake.requests() if "history" in each]
    assert [page.rsplit("=", 1)[1] for page in pages] == ["0", "1000", "2000", "3000", "4000"]
    assert {from_date(page) for page in pages} == {asked_from(days=30)}, "the failure has moved the mark"
    overlap = asked_from(days=1)
    assert world.query("select count(*), count(distinct ticket) from accounts.trades") == [(5000, 5000)]
    world.poll()
    later = [each for each in world.fake.requests() if "history" in each]
    assert {from_date(page) for page in later} == {overlap}
    assert len(later) == 2  # a day of a trade a minute


def from_date(request: str) -> str:
    return parse_qs(urlsplit(request).query)["from_date"][0]
