"""Several accounts, what landed before accounts had names, fees in a third coin, bots, and what a run reports."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from tests.support.bybit_items import DAY, days_ago, execution
from tests.support.bybit_world import BybitWorld
from tests.support.fake_bybit import KEY, OTHER_KEY, OTHER_SECRET, OTHER_UID, SECRET, UID

# What the account is called and costs does not depend on the server.
pytestmark = pytest.mark.only_on("embedded")

BOT = "shortseller_001"
TWO = {
    "BYBIT_ACCOUNTS": "main,grid",
    "BYBIT_API_KEY": "",
    "BYBIT_API_SECRET": "",
    "BYBIT_MAIN_API_KEY": KEY,
    "BYBIT_MAIN_API_SECRET": SECRET,
    "BYBIT_GRID_API_KEY": OTHER_KEY,
    "BYBIT_GRID_API_SECRET": OTHER_SECRET,
}


def bought_and_sold(name: str, profit: int, **fields: str) -> list[dict[str, object]]:
    """A long position of one coin, opened two days ago and closed yesterday, without fees."""
    common = {"execQty": "1", "execFee": "0", **fields}
    return [
        execution(f"{name}-in", days_ago(2), **{"side": "Buy", "execPrice": "100", **common}),
        execution(f"{name}-out", days_ago(1), **{"side": "Sell", "execPrice": str(100 + profit), **common}),
    ]


def test_accounts_land_side_by_side_and_fail_alone(bybit_world: BybitWorld) -> None:
    world = bybit_world
    world.settings |= TWO
    world.fake.add(bought_and_sold("one", 10))
    world.fake.add(bought_and_sold("two", 20), uid=OTHER_UID)
    # the second account's list fails, then its key
    world.fake.next({}, {}, {}, {}, {}, {"code": 10001, "message": "not now"})
    printed = world.backfill(code=1)
    assert "grid/linear: Bybit refuses the request (10001: not now)" in printed
    assert "warning" not in printed
    world.settings["BYBIT_GRID_API_KEY"] = "wrong"
    printed = world.backfill(code=1)
    assert "grid/linear: Bybit does not know the key of BYBIT_GRID_API_KEY" in printed
    world.settings["BYBIT_GRID_API_KEY"] = OTHER_KEY
    world.backfill("--test")
    assert world.query("select account_uid, net_pnl from trading.completed_trades order by 2") == [
        (str(UID), 10),
        (str(OTHER_UID), 20),
    ]
    windows = dict(world.query("select account_uid, count(*)::integer from staging.bybit_windows group by 1"))
    assert windows.keys() == {str(UID), str(OTHER_UID)}
    assert windows[str(UID)] == windows[str(OTHER_UID)]
    # one unnamed account, with a key that Bybit knows as the second's
    world.settings |= dict.fromkeys(TWO, "") | {"BYBIT_API_KEY": OTHER_KEY, "BYBIT_API_SECRET": OTHER_SECRET}
    world.execute("truncate staging.bybit_windows")
    assert "run tradehouse bybit backfill first" in world.fails("sync")
    assert "of account 106958, executions of linear" in world.bybit("test")


def test_a_warehouse_from_before_accounts_goes_on(bybit_world: BybitWorld) -> None:
    world = bybit_world
    world.fake.add(bought_and_sold("old", 10))
    world.backfill()
    [before] = world.query("select net_pnl, entry_order_id from trading.completed_trades")
    # as the version before accounts left it
    world.execute(
        "drop view trading.funding_payments, staging.stg_bybit__executions, ops.rejected_executions cascade;"
        " alter table staging.bybit_executions drop column account_uid cascade, add primary key (exec_id);"
        " alter table staging.bybit_windows drop column account_uid cascade,"
        " add primary key (category, window_start);"
        " drop table staging.bybit_prices, staging.bybit_runs cascade;"
        " drop table staging.int_bybit__fills, trading.completed_trades cascade;"
        " alter table trading.bots drop column reasons cascade;"
        " delete from ops.built_models where source = 'bybit';"
        " update ops.sync_runs set project_fingerprint = 'before' where project_fingerprint is not null;"
        " comment on schema ops is 'before'"
    )
    world.fake.requests()
    assert " 0 changed" in world.bybit("sync")
    assert len(world.fake.requests()) <= 2, "what has been read was read again"
    assert world.query("select distinct account_uid from staging.bybit_executions") == [(str(UID),)]
    assert world.query("select distinct account_uid from staging.bybit_windows") == [(str(UID),)]
    assert world.query("select net_pnl, entry_order_id from trading.completed_trades") == [before]


def test_fees_in_a_third_coin_are_priced_by_day(bybit_world: BybitWorld) -> None:
    world = bybit_world
    yesterday = days_ago(1) // DAY * DAY
    world.fake.add(bought_and_sold("mnt", 10, execFee="60", feeCurrency="MNT"))
    world.fake.add(bought_and_sold("odd", 10, execFee="3", feeCurrency="ODD", symbol="ETHUSDT"))
    printed = world.backfill()
    assert "fees in MNT have no price: Bybit refuses the request" in printed
    costs = "select symbol, entry_commission, exit_commission from trading.completed_trades order by symbol"
    assert world.query(costs) == [("BTCUSDT", 0, 0), ("ETHUSDT", 0, 0)]
    # the next run finds the price of one day, a later one that of the other
    world.fake.set_prices("MNTUSDT", {yesterday: "0.5", yesterday - 5 * DAY: "9"})
    world.bybit("sync")
    assert world.query(costs) == [("BTCUSDT", 0, 30), ("ETHUSDT", 0, 0)]
    world.fake.set_prices("MNTUSDT", {yesterday: "0.5", yesterday - DAY: "0.25"})
    world.bybit("sync")
    assert world.query(costs) == [("BTCUSDT", 15, 30), ("ETHUSDT", 0, 0)]
    assert world.query("select coin, price from staging.bybit_prices order by price") == [
        ("MNT", Decimal("0.25")),
        ("MNT", Decimal("0.5")),
    ]
    assert "fees of 6 ODD not in PnL" in world.bybit("stats")


def test_what_has_no_account_yet_becomes_the_first_ones(bybit_world: BybitWorld) -> None:
    world = bybit_world
    world.fake.add(bought_and_sold("old", 10))
    world.backfill()
    world.execute(
        "update staging.bybit_executions set account_uid = ''; update staging.bybit_windows set account_uid = '';"
    )
    world.settings |= TWO | {"BYBIT_MAIN_API_KEY": "wrong"}
    assert "named no account" not in world.backfill(code=1)
    assert world.query("select distinct account_uid from staging.bybit_executions") == [("",)]
    world.settings |= TWO
    assert f"2 executions that named no account are now of account {UID}" in world.backfill()
    assert world.query("select distinct account_uid from staging.bybit_executions") == [(str(UID),)]
    assert "named no account" not in world.backfill()


def test_bots_that_others_register_stay(bybit_world: BybitWorld) -> None:
    world = bybit_world
    world.execute(
        "insert into trading.bots (bot_id, bot_name, bot_type, status, deployment_mode)"
        " values ('grid_001', 'Grid', 'grid', 'active', 'live');"
        " update trading.bots set reasons = 'tp sl' where bot_id = 'lxalgo_001'"
    )
    world.fake.add(bought_and_sold("grid", 10, orderLinkId="grid_001-tp-42"))
    world.fake.add(bought_and_sold("lx", 10, orderLinkId="lxalgo_001-tp-a1b2c3", symbol="ETHUSDT"))
    printed = world.backfill("--test", "--bot", "grid_001")
    assert "grid_001: 1 trades new or restated" in printed
    # a change of the project computes everything again, bots included
    world.execute("update ops.sync_runs set project_fingerprint = 'another' where project_fingerprint is not null")
    world.bybit("sync")
    assert world.query("select bot_id, exit_reason from trading.completed_trades order by bot_id") == [
        ("grid_001", "tp-42"),
        ("lxalgo_001", "tp"),
    ]
    assert world.query("select bot_id from trading.bots order by bot_id") == [
        ("grid_001",),
        ("lxalgo_001",),
        ("momentum_001",),
        (BOT,),
    ]
    assert world.query(
        "select sync_type, bot_id, trades_synced, executions_synced, status from trading.sync_status order by run_id"
    )[-2:] == [("backfill", "grid_001", 1, 4, "completed"), ("manual", None, 0, 0, "completed")]


def test_an_option_that_was_held_to_expiry_ends_by_its_delivery(bybit_world: BybitWorld) -> None:
    world = bybit_world
    world.settings["BYBIT_CATEGORIES"] = "option"
    common = {"execQty": "0.5", "execFee": "0", "execPrice": "100", "closedSize": ""}
    expiry = days_ago(1)
    deliveries = []
    for kind, side, is_known in (("C", "Buy", True), ("P", "Buy", True), ("P-USDT", "Sell", True), ("X", "Buy", False)):
        symbol = f"BTC-6JAN25-40000-{kind}"
        if is_known:
            opened = execution(f"in-{kind}", days_ago(2), **common, symbol=symbol, side=side)
            world.fake.add([opened], "option")
        record = {"deliveryTime": expiry, "symbol": symbol, "side": side, "position": "0.5", "fee": "0.1"}
        deliveries.append({**record, "deliveryPrice": "39000.5", "strike": "40000", "deliveryRpl": "1"})
    world.fake.set_deliveries(deliveries)
    assert "7 executions read, 7 changed" in world.backfill("--test")
    assert world.query(
        "select symbol, exit_price, net_pnl, exit_reason, exit_attributed_by from trading.completed_trades order by 1"
    ) == [
        ("BTC-6JAN25-40000-C", 0, Decimal("-50.1"), "delivery", "open_position"),
        ("BTC-6JAN25-40000-P", Decimal("999.5"), Decimal("449.65"), "delivery", "open_position"),
        ("BTC-6JAN25-40000-P-USDT", Decimal("999.5"), Decimal("-449.85"), "delivery", "open_position"),
    ]
    assert world.query("select field, original from ops.rejected_executions") == [("execPrice", None)]
    assert world.query("select payload from staging.bybit_executions where exec_id like 'delivery-%P-Buy-%'") == [
        (deliveries[1],)
    ]
    assert "0 changed" in world.bybit("sync")


def test_the_overlap_is_a_setting(bybit_world: BybitWorld) -> None:
    world = bybit_world
    world.backfill()
    late = datetime.now(timezone.utc) - timedelta(hours=4)
    world.fake.add([execution("late", int(late.timestamp() * 1000))])
    assert "0 executions read" in world.bybit("sync")
    world.settings["BYBIT_OVERLAP_HOURS"] = "5"
    assert "1 executions read, 1 changed" in world.bybit("sync")
