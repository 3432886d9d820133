"""Rows of a history that come days late, and of which only the balance tells that they are missing."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.support.accounts_world import AccountsWorld
from tests.support.fake_mt5 import info, position, trade
from tests.support.mt5_items import operation

pytestmark = pytest.mark.only_on("embedded")

DAY = 86_400.0


@pytest.mark.only_on("embedded", "debian")
def test_a_deposit_two_days_late_is_asked_for(accounts_world: AccountsWorld) -> None:
    """Once in an hour, from when the balance was last explained; an account that lacks nothing is asked as ever."""
    world = accounts_world
    world.register("late", "well")
    first = operation(1, 1000.0)
    for account in ("late", "well"):
        world.fake.account(account, info(1000), [], [first])
    assert days_asked(world) == {"late": 30, "well": 30}
    assert days_asked(world) == {"late": 1, "well": 1}
    world.fake.account("late", info(1500))
    world.fake.account("well", info(1300), history=[first, operation(2, 300.0, time.time())])
    assert days_asked(world) == {"late": 1, "well": 1}
    let_pass(world, "24 hours")
    assert days_asked(world) == {"late": 2, "well": 2}, "nobody was asked for a day"
    let_pass(world, "24 hours")
    assert days_asked(world) == {"late": 3, "well": 2}
    world.fake.account("late", history=[first, operation(3, 500.0, time.time() - 2 * DAY)])
    in_the_same_hour(world)
    assert days_asked(world) == {"late": 1, "well": 1}
    assert opening_balances(world) == {"late": 500, "well": 0}
    let_pass(world, "1 hour")
    assert days_asked(world) == {"late": 3, "well": 1}
    assert world.query("select amount from accounts.balance_operations where ticket = '3'") == [(500,)]
    assert opening_balances(world) == {"late": 0, "well": 0}
    let_pass(world, "1 hour")
    assert days_asked(world) == {"late": 1, "well": 1}

    # what never comes is asked for as far back as a history is, and no further
    world.fake.account("late", info(1492))
    days_asked(world)
    let_pass(world, "20 days")
    days_asked(world)
    let_pass(world, "9 days")
    assert days_asked(world) == {"late": 30, "well": 10}
    let_pass(world, "25 hours")
    assert days_asked(world) == {"late": 2, "well": 2}
    let_pass(world, "1 hour")
    assert days_asked(world) == {"late": 1, "well": 1}


def test_an_unread_balance_is_no_reason_to_ask(accounts_world: AccountsWorld) -> None:
    """What the history tells beyond the balance that was read last is not looked for in the past."""
    world = accounts_world
    world.register("a")
    world.fake.account("a", info(1000), [], [operation(1, 1000.0)])
    days_asked(world)
    days_asked(world)
    world.fake.treat("a", "info", status=500)
    world.fake.account("a", info(1500), history=[operation(1, 1000.0)])
    for _ in range(3):
        let_pass(world, "24 hours")
        assert days_asked(world, code=1) == {"a": 2}
    world.fake.treat("a", "info")
    world.fake.account("a", info(1500))
    let_pass(world, "1 hour")
    days_asked(world)
    let_pass(world, "1 hour")
    assert days_asked(world) == {"a": 4}, "the balance was last read, and explained, three days ago"


def test_tables_that_were_not_refreshed_explain_nothing(accounts_world: AccountsWorld) -> None:
    """A run that was killed once it had landed leaves tables of the balance before."""
    world = accounts_world
    world.register("a")
    world.fake.account("a", info(1000), [], [operation(1, 1000.0)])
    days_asked(world)
    before = world.query("select balance, opening_balance from accounts.performance")
    let_pass(world, "72 hours")
    world.fake.account("a", info(1500))
    assert days_asked(world) == {"a": 4}
    [(balance, opening)] = before
    world.execute(f"update accounts.performance set balance = {balance}, opening_balance = {opening}")
    days_asked(world)
    world.fake.account("a", history=[operation(1, 1000.0), operation(2, 500.0, time.time() - 2 * DAY)])
    let_pass(world, "1 hour")
    assert days_asked(world) == {"a": 4}
    assert opening_balances(world) == {"a": 0}


def test_a_position_of_which_nobody_saw_the_most_is_corrected(accounts_world: AccountsWorld) -> None:
    """Half a lot closed and a lot added between two lists look like half a lot added: the late row tells them apart."""
    world, now = accounts_world, time.time()
    world.register("a")
    world.fake.account("a", info(1000), [position(7, volume=1.0)], [])
    world.poll()
    world.fake.account("a", info(1010), [position(7, volume=1.5)])
    world.poll()
    parts = [trade(101, now, position_id=7, volume=1.5, profit=30.0, swap=0, commission=0)]
    world.fake.account("a", info(1040), [], parts)
    world.poll()
    found = world.trades("a")["7"]
    assert (found["status"], found["volume"], found["realised_profit"]) == ("closed", 1.5, 30)
    let_pass(world, "48 hours")
    world.poll()
    parts.append(trade(100, now - 2 * DAY, position_id=7, volume=0.5, profit=10.0, swap=0, commission=0))
    world.fake.account("a", history=parts)
    let_pass(world, "1 hour")
    world.poll()
    found = world.trades("a")["7"]
    assert (found["status"], found["volume"], found["realised_profit"]) == ("closed", 2.0, 40)
    assert opening_balances(world) == {"a": 1000}


def days_asked(world: AccountsWorld, code: int = 0) -> dict[str, int]:
    """One sync, of three requests an account; how many days back the history of each was asked for."""
    world.fake.requests()
    results = world.poll(code)
    asked: dict[str, int] = {}
    requests = world.fake.requests()
    for request in requests:
        url = urlsplit(request)
        if url.path.endswith("/history"):
            since = datetime.fromisoformat(parse_qs(url.query)["from_date"][0].replace("Z", "+00:00"))
            age = datetime.now(timezone.utc) - since
            asked[unquote(url.path.split("/")[4])] = round(age.total_seconds() / DAY)
    assert len(requests) == 3 * len(results) + (code == 1), "and one more where one is tried twice"
    return asked


def opening_balances(world: AccountsWorld) -> dict[str, int]:
    return dict(world.query("select account_id, opening_balance::integer from accounts.performance"))


def let_pass(world: AccountsWorld, interval: str) -> None:
    """Date back what the syncs so far wrote about when they were."""
    columns = ("attempted_at", "history_until", "listed_at", "balance_at", "explained_at")
    changes = ", ".join(f"{column} = {column} - interval '{interval}'" for column in columns)
    world.execute(f"update staging.mt5_account_marks set {changes}")


def in_the_same_hour(world: AccountsWorld) -> None:
    """Keep the next sync in the hour of the last, should a full hour be about to strike."""
    world.execute("update staging.mt5_account_marks set attempted_at = now() + interval '1 minute'")
