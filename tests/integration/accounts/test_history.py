"""What a history may hold: parts, raw deals, balance operations, identifiers; and history that comes late."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import pytest

from tests.support.accounts_world import AccountsWorld
from tests.support.fake_mt5 import info, iso, position, trade
from tests.support.mt5_items import deal, operation

pytestmark = pytest.mark.only_on("embedded")
both_servers = pytest.mark.only_on("embedded", "debian")

IN, OUT, INOUT, OUT_BY = range(4)
BUY, SELL = 0, 1


@both_servers
def test_what_a_history_may_hold(accounts_world: AccountsWorld) -> None:
    """Each account sends another shape; one sync reads all of them."""
    world, now = accounts_world, int(time.time())
    hour = 3600
    world.register("deals", "reversed", "finished", "parts", "operations", "by", "both", "canceled")
    world.fake.account(
        "deals",
        history=[
            deal(1, IN, 77, now - 9 * hour, type="DEAL_TYPE_BUY", volume=0.6, price=1.1, commission=-3.0),
            deal(2, IN, 77, now - 8 * hour, volume=0.4, price=1.2, commission=-2.0),
            deal(3, OUT, 77, now - 7 * hour, type=SELL, volume=0.4, price=1.3, profit=40.0, fee=-0.5, reason=4),
            deal(
                4,
                "DEAL_ENTRY_OUT",
                77,
                now - 6 * hour,
                type="DEAL_TYPE_SELL",
                volume=0.6,
                price=1.4,
                profit=60.5,
                swap=-1.0,
            ),
        ],
    )
    world.fake.account(
        "reversed",  # bought 1.0, sold 1.5, bought the 0.5 back: the identifier stays
        history=[
            deal(11, IN, 5, now - 9 * hour, price=1.0),
            deal(12, INOUT, 5, now - 8 * hour, type=SELL, volume=1.5, price=2.0, profit=100.0),
            deal(13, OUT, 5, now - 7 * hour, type=BUY, volume=0.5, price=1.0, profit=50.0),
        ],
    )
    world.fake.account("finished", history=[trade(9, now - hour), trade(10, now - hour, position_id=10)])
    parts = [trade(7, now - 2 * hour, volume=0.4, profit=4.0), trade(7, now - hour, volume=0.6, profit=6.0)]
    world.fake.account("parts", history=parts)
    world.fake.account(
        "operations",
        info(1000),
        history=[
            operation(1, 1000.0, now - 9 * hour),
            operation(2, -50.0, now - 8 * hour, symbol="", type=2),
            operation(3, 25.0, now - 7 * hour, type="DEAL_TYPE_CREDIT"),
            {"ticket": 4, "symbol": "AAPL", "type": 15, "profit": 3.0, "time": now - 6 * hour, "entry": 0},
            operation(5, -1.5, now - 5 * hour, type="correction", volume=None),
            {"ticket": 6, "type": "buy", "symbol": None, "volume": 0, "profit": 2.0, "close_time": iso(now)},
        ],
    )
    world.fake.account(
        "by",
        history=[
            deal(1, IN, 1, now - 3 * hour),
            deal(2, IN, 2, now - 3 * hour, type=SELL),
            deal(3, OUT_BY, 1, now - 2 * hour, type=SELL, profit=8.0),
            deal(4, OUT_BY, 2, now - 2 * hour, type=BUY, profit=0.0),
        ],
    )
    world.fake.account(
        "both",  # the same position as a finished trade and as its deals
        history=[
            trade(5, now - hour, profit=9.0),
            deal(1, IN, 5, now - 2 * hour),
            deal(2, OUT, 5, now - hour, type=SELL, profit=9.0),
        ],
    )
    world.fake.account("canceled", history=[deal(1, IN, 5, now - hour, type=13)])
    results = world.poll()
    assert {each["status"] for each in results.values()} == {"success"}
    assert results["deals"]["trades_synced"] == 4
    assert {each["trades_synced"] for each in world.poll().values()} == {0}, "only new or changed rows count"
    assert world.query("select count(*) from ops.rejected_rows") == [(0,)]

    found = world.trades("deals")["77"]
    assert {name: found[name] for name in ("status", "type", "volume", "profit", "swap", "commission", "fee")} == {
        **{"status": "closed", "type": "buy", "volume": 1.0, "profit": 100.5},
        **{"swap": -1.0, "commission": -5.0, "fee": -0.5},
    }
    assert (found["open_price"], found["close_price"], found["realised_profit"]) == (1.14, 1.36, 94.0)
    found = world.trades("reversed")["5"]
    assert (found["status"], found["type"], found["volume"], found["profit"]) == ("closed", "buy", 1.5, 150.0)
    assert world.statuses("finished") == {"9": "closed", "10": "closed"}
    assert (world.trades("parts")["7"]["volume"], world.trades("parts")["7"]["profit"]) == (1.0, 10.0)
    assert world.statuses("operations") == {}
    assert world.query(
        "select ticket, operation_type, amount::float, changes_balance from accounts.balance_operations"
        " where account_id = 'operations' order by ticket"
    ) == [
        ("1", "deposit", 1000.0, True),
        ("2", "withdrawal", -50.0, True),
        ("3", "credit", 25.0, False),
        ("4", "dividend", 3.0, True),
        ("5", "correction", -1.5, True),
        ("6", "buy", 2.0, True),
    ]
    assert {ticket: row["profit"] for ticket, row in world.trades("by").items()} == {"1": 8.0, "2": 0.0}
    assert world.trades("both")["5"]["profit"] == 9.0
    assert world.statuses("canceled") == {}
    assert world.query("select count(*) from accounts.deals where account_id = 'canceled'") == [(1,)]
    deals = (
        "select ticket, entry, reason, magic, fee::float from accounts.deals where account_id = 'deals' order by ticket"
    )
    assert world.query(deals) == [
        ("1", "in", "3", "7", 0.0),
        ("2", "in", "3", "7", 0.0),
        ("3", "out", "4", "7", -0.5),
        ("4", "out", "3", "7", 0.0),
    ]
    # a part with another profit is corrected; a row that is there no more has been corrected in its time
    parts[0]["profit"] = 5.0
    world.fake.account("parts", history=parts)
    world.fake.account("finished", history=[trade(9, now - hour + 60), trade(10, now - hour, position_id=10)])
    world.poll()
    assert world.trades("parts")["7"]["profit"] == 11.0
    assert world.trades("finished")["9"]["volume"] == 1.0
    _full_refresh_changes_nothing(world)


@pytest.mark.parametrize("order", [(0.6, 0.4), (0.4, 0.6)])
def test_a_trade_is_closed_when_all_of_it_is(accounts_world: AccountsWorld, order: tuple[float, float]) -> None:
    world, now = accounts_world, time.time()
    world.register("a")
    world.fake.account("a", positions=[position(7, volume=1.0)])
    world.poll()
    first, last = order
    parts = [trade(7, now - 60, volume=first, profit=10)]
    world.fake.account("a", positions=[position(7, volume=last)], history=parts)
    world.poll()
    assert world.statuses("a") == {"7": "open"}
    world.fake.account("a", positions=[])
    world.poll()
    assert world.statuses("a") == {"7": "closing"}
    assert world.trades("a")["7"]["missing_volume"] == last
    world.fake.account("a", history=[*parts, trade(7, now - 30, volume=last, profit=20)])
    world.poll()
    found = world.trades("a")["7"]
    assert (found["status"], found["volume"], found["profit"], found["missing_volume"]) == ("closed", 1.0, 30, 0)


def test_the_identifier_stays_when_the_ticket_changes(accounts_world: AccountsWorld) -> None:
    world, now = accounts_world, time.time()
    world.register("a")
    world.fake.account("a", positions=[position(100, identifier=100)])
    world.poll()
    # re-opened with its swap charged, then reversed: other tickets, one position
    world.fake.account("a", positions=[position(200, identifier=100, swap=-5.0)])
    world.poll()
    assert world.statuses("a") == {"100": "open"}
    world.fake.account("a", positions=[position(300, identifier=100, type="sell", volume=0.5)])
    world.poll()
    assert (world.statuses("a"), world.trades("a")["100"]["type"]) == ({"100": "open"}, "sell")
    world.fake.account(
        "a",
        positions=[],
        history=[trade(1, now, position_id=100, volume=1.0), trade(2, now, position_id=100, volume=0.5)],
    )
    world.poll()
    assert world.statuses("a") == {"100": "closed"}


def test_a_deactivated_accounts_positions_are_unknown(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    world.register("a", "b")
    for account in "ab":
        world.fake.account(account, info(5), positions=[position(1)], history=[trade(9)])
    world.poll()
    world.accounts("deactivate", "a")
    world.poll()
    assert world.statuses("a") == {"1": "unknown", "9": "closed"}
    assert world.statuses("b") == {"1": "open", "9": "closed"}
    _full_refresh_changes_nothing(world)
    world.accounts("deactivate", "b")
    world.poll()  # of no account, and yet it is seen
    assert world.statuses("b") == {"1": "unknown", "9": "closed"}
    world.accounts("add", "a")
    world.poll()
    assert world.statuses("a") == {"1": "open", "9": "closed"}


def test_deals_without_a_list_of_positions(accounts_world: AccountsWorld) -> None:
    """An opening that no list has is open until a later list lacks it."""
    world, now = accounts_world, time.time()
    world.register("a")
    world.fake.treat("a", "positions", status=500)
    world.fake.account("a", positions=[], history=[deal(1, IN, 5, now)])
    world.poll(code=1)
    assert world.statuses("a") == {"5": "open"}
    world.fake.treat("a", "positions")
    world.poll()
    assert world.statuses("a") == {"5": "closing"}
    _full_refresh_changes_nothing(world)
    world.fake.account("a", history=[deal(1, IN, 5, now), deal(2, OUT, 5, now, type=SELL, profit=1.0)])
    world.poll()
    assert world.statuses("a") == {"5": "closed"}


@both_servers
def test_the_brokers_clock(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    for account, clock in (("sent", None), ("offset", "+03:00"), ("zone", "EET")):
        world.accounts("add", account, *(("--server-utc-offset", clock) if clock else ()))
        history = [trade(9, 1_736_164_800.0), deal(3, IN, 2, 1_736_164_800.0)]  # 12:00 on 6 January 2025
        world.fake.account(account, positions=[position(1, open_time="2025-07-07T12:00:00")], history=history)
    assert "is neither an offset" in world.accounts("add", "bad", "--server-utc-offset", "Mars", code=2)
    assert "--server-utc-offset" in world.accounts("add", "bad", "--server-utc-offset", "2", code=2)
    world.execute("update staging.mt5_account_marks set history_until = '2025-01-01'")
    times = (
        "select account_id, array_agg(to_char(coalesce(close_time, open_time) at time zone 'UTC', 'HH24:MI')"
        " order by ticket) from accounts.trades where ticket <> '2' group by 1 order by 1"
    )
    world.execute(
        "insert into staging.mt5_account_marks (account_id, attempted_at, history_until)"
        " select id, now(), '2025-01-01' from accounts.registered_accounts"
    )
    world.poll()
    assert world.query(times) == [
        ("offset", ["09:00", "09:00"]),
        ("sent", ["12:00", "12:00"]),
        ("zone", ["09:00", "10:00"]),
    ]
    assert world.query(
        "select account_id, to_char(deal_time at time zone 'UTC', 'HH24:MI') from accounts.deals order by 1"
    ) == [("offset", "09:00"), ("sent", "12:00"), ("zone", "10:00")]
    world.accounts("add", "sent", "--server-utc-offset", "-01:30")
    world.poll()
    assert ("sent", ["13:30", "13:30"]) in world.query(times)


def _full_refresh_changes_nothing(world: AccountsWorld) -> None:
    state = [
        f"select to_jsonb(t), xmin::text from accounts.{table} as t order by 1"
        for table in ("trades", "trading_accounts", "deals", "balance_operations", "performance", "equity")
    ]
    before: list[Any] = [world.query(query) for query in state]
    done = world.dbt("build", "--full-refresh", "--select", "tag:accounts")
    assert done.returncode == 0, done.stdout
    assert [world.query(query) for query in state] == before


@both_servers
def test_performance_and_equity(accounts_world: AccountsWorld) -> None:
    world, now = accounts_world, time.time()
    world.register("a")
    hour = 3600
    history = [
        operation(1, 1000.0, now - 9 * hour),
        trade(2, now - 8 * hour, profit=100.0, swap=0, commission=0),  # 1000 -> 1100
        operation(3, 900.0, now - 7 * hour),  # 2000
        trade(4, now - 6 * hour, profit=-500.0, swap=0, commission=0),  # 1500
        trade(5, now - 5 * hour, profit=310.0, swap=-5, commission=-5),  # 1800
        operation(6, -800.0, now - 4 * hour),  # 1000
        operation(7, 50.0, now - 3 * hour, type="credit"),
    ]
    world.fake.account("a", info(1000), [], history)
    world.poll()
    [row] = world.query("select to_jsonb(performance) - 'synced_at' from accounts.performance")
    growth = Decimal("1.1") * Decimal("0.75") * Decimal("1.2") - 1
    assert row[0] == {
        **{"account_id": "a", "trades": 3, "winning_trades": 2, "losing_trades": 1, "win_rate_pct": 66.67},
        **{"gross_profit": 400.0, "gross_loss": 500.0, "profit_factor": 0.8, "net_profit": -100.0},
        **{"deposits": 1900.0, "withdrawals": 800.0, "growth_pct": float(100 * growth), "balance": 1000.0},
        **{"max_drawdown": 500.0, "max_drawdown_pct": 25.0, "opening_balance": 0.0},
    }
    world.poll()
    world.fake.account("a", info(900))
    world.poll()
    assert world.query("select balance from accounts.equity order by recorded_at") == [(1000,), (900,)]
    # rows of one day, 95 days ago: the last one stays
    world.execute(
        "insert into accounts.equity (account_id, recorded_at, balance, synced_at)"
        " select 'a', day + hour, 1, day + hour"
        " from (select date_trunc('day', now(), 'UTC') - 95 * interval '24 hours') as old (day),"
        " unnest(array[interval '1 hour', '5 hours', '23 hours']) as hour"
    )
    world.poll()
    assert world.query(
        "select extract(hour from recorded_at at time zone 'UTC')::int from accounts.equity where balance = 1"
    ) == [(23,)]
