"""From executions to the answer: which bot, by which exit, makes money."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.bybit_items import days_ago, execution
from tests.support.bybit_world import BybitWorld
from tradehouse.registry import SOURCES

# What these print does not depend on the server, and starting the command for each takes a while.
pytestmark = pytest.mark.only_on("embedded")


def trade(
    name: str, bot: str, reason: str, *, closed_days_ago: float, hours: float, entry: int, exit_: int, **fields: Any
) -> list[dict[str, Any]]:
    """A short position of one coin: sold at `entry`, bought back at `exit_`, 0.1 of fees each time."""
    common = {"execQty": "1", "execFee": "0.1", **fields}
    closed = days_ago(closed_days_ago)
    opened = closed - round(hours * 3_600_000)
    sold = {"side": "Sell", "orderLinkId": f"{bot}-entry", "execPrice": str(entry), "closedSize": "0"}
    bought = {"side": "Buy", "orderLinkId": f"{bot}-{reason}", "execPrice": str(exit_), "closedSize": "1"}
    return [
        execution(f"{name}-in", opened, **common, **sold),
        execution(f"{name}-out", closed, **common, **bought),
    ]


def test_stats_per_bot_and_exit_reason(bybit_world: BybitWorld) -> None:
    bybit_world.settings["BYBIT_CATEGORIES"] = "linear,inverse"
    fake, bot = bybit_world.fake, "shortseller_001"
    fake.add(trade("a", bot, "take_profit", closed_days_ago=20, hours=2, entry=100, exit_=90))
    fake.add(trade("b", bot, "stop_loss", closed_days_ago=5, hours=1, entry=100, exit_=105))
    fake.add(trade("c", bot, "stop_loss", closed_days_ago=4, hours=3, entry=100, exit_=101))
    inverse = trade(
        "d", bot, "take_profit", closed_days_ago=3, hours=1, entry=100, exit_=80, symbol="BTCUSD", execFee="0.0001"
    )
    fake.add(inverse, "inverse")
    opened, closed = trade("e", "momentum_001", "exit", closed_days_ago=2, hours=1, entry=9, exit_=9, symbol="ETHUSDT")
    fake.add([opened, closed | {"closedSize": "0.5"}])
    printed = bybit_world.backfill("--test", "--bot", bot)
    assert f"{bot}: 4 trades new or restated" in printed
    assert "momentum_001" not in printed
    assert " tests passed" in printed

    stats = json.loads(bybit_world.bybit("stats", "--json"))
    assert [each["bot_id"] for each in stats["bots"]] == ["lxalgo_001", "momentum_001", bot]
    assert stats["bots"][0] == {"bot_id": "lxalgo_001", "bot_name": "LX Algo", "markets": []}
    coin, linear = stats["bots"][2]["markets"]
    assert (linear["market"], coin["market"]) == ("linear", "inverse BTCUSD")
    # 10 - 0.2, -5 - 0.2, -1 - 0.2
    assert measures(linear["total"]) == (3, 33.33, 3.4, 0.6, 7200)
    assert {reason: measures(each) for reason, each in linear["by_exit_reason"].items()} == {
        "take_profit": (1, 100, 9.8, 0.2, 7200),
        "stop_loss": (2, 0, -6.4, 0.4, 7200),
    }
    # 1 x (1/80 - 1/100) - 0.0002
    assert measures(coin["total"]) == (1, 100, pytest.approx(0.0023), 0.0002, 3600)

    recent = json.loads(bybit_world.bybit("stats", "--json", "--days", "10", "--bot", bot))
    [only] = recent["bots"]
    assert measures(only["markets"][1]["total"]) == (2, 0, -6.4, 0.4, 7200)
    assert only["markets"][1]["by_exit_reason"].keys() == {"stop_loss"}

    table = bybit_world.bybit("stats", "--bot", bot)
    agreement = "9 of 10 fills close what Bybit says they close"
    for words in ("shortseller_001 inverse BTCUSD all", "100.0%", "-6.40", "2h 0m", agreement):
        assert words in " ".join(table.split())

    for command in ("stats", "sync"):
        refused = bybit_world.bybit(command, "--bot", "nobody", code=2)
        assert "nobody is no bot; there are lxalgo_001, momentum_001, shortseller_001" in refused


def measures(found: dict[str, Any]) -> Any:
    """Trades, win rate, PnL, fees and seconds held."""
    names = ("trades", "win_rate_pct", "net_pnl", "fees", "average_holding_seconds")
    return tuple(float(found[name]) for name in names)


def test_the_commands_ask_the_functions_that_sql_has(bybit_world: BybitWorld) -> None:
    for function, command in (
        ("get_trading_summary", "stats"),
        ("get_exit_reason_breakdown", "stats"),
        ("get_recent_trades", "trades"),
    ):
        bybit_world.execute(f"alter function trading.{function} rename to hidden")
        assert "there are no trades yet" in bybit_world.fails(command)
        bybit_world.execute(f"alter function trading.hidden rename to {function}")
        bybit_world.bybit(command)


def test_every_model_belongs_to_one_source_but_for_a_view_on_all(bybit_world: BybitWorld) -> None:
    bybit_world.run("warehouse", "init")

    def models(*arguments: str) -> list[str]:
        listed = bybit_world.dbt("--quiet", "ls", "--resource-type", "model", *arguments)
        assert listed.returncode == 0, listed.stdout
        return listed.stdout.split()

    owned = [model for source in SOURCES for model in models("--select", f"tag:{source}")]
    assert len(models("--select", "tag:bybit")) >= 8
    shared = ["tradehouse.ops.source_health"] * (len(SOURCES) - 1)
    assert sorted(owned) == sorted([*models(), *shared])
