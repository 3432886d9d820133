"""What a trader looks at: positions, equity and performance, against pandas and quantstats."""

from __future__ import annotations

import random
from datetime import timedelta
from decimal import Decimal
from importlib import import_module
from typing import Any

import pandas  # type: ignore[import-untyped]
import pytest

from tests.support.fifo_oracle import Execution
from tests.support.trade_house import BOT, BOTS, START, House, fill

# Formulas in SQL: what the servers compute with is the same NUMERIC.
pytestmark = pytest.mark.only_on("embedded")

OTHER = {"orderLinkId": f"{BOTS[1]}:entry"}


def test_a_position_lasts_from_flat_to_flat(house: House) -> None:
    house.land(
        [
            # five entries, one exit; then a short in two exits; then one that is still open
            *(fill(number, "Buy", 1, 100 - number, execFee="0.1", closedSize="0") for number in range(1, 6)),
            fill(6, "Sell", 5, 110, execFee="0.5", closedSize="5"),
            fill(7, "Sell", 2, 100, closedSize="0"),
            fill(8, "Buy", 1, 90, closedSize="1"),
            fill(9, "Buy", 3, 95, closedSize="1"),
            fill(10, "Sell", 1, 97, closedSize="1"),
            # another bot and another symbol of the same time
            fill(22, "Buy", 1, 50, symbol="ETHUSDT", minute=2, **OTHER),
            fill(24, "Sell", 1, 51, symbol="ETHUSDT", minute=4, **OTHER),
        ]
    )
    house.increment()
    columns = "position_side, entry_orders, exit_orders, quantity, largest_quantity, entry_price, exit_price, net_pnl"
    assert house.query(
        f"select bot_id, symbol, {columns}, holding_duration_seconds from trading.positions order by bot_id, opened_at"
    ) == [
        (BOTS[1], "ETHUSDT", "long", 1, 1, 1, 1, 50, 51, 1, 120),
        (BOT, "BTCUSDT", "long", 5, 1, 5, 5, 97, 110, 64, 300),
        (BOT, "BTCUSDT", "short", 1, 2, 2, 2, 100, Decimal("92.5"), 15, 120),
    ]
    measures = "basis, total_trades, winning_trades, net_pnl, best, longest_winning_streak, exposure_pct"
    assert house.query(f"select {measures} from trading.performance where bot_id = '{BOT}' order by basis") == [
        ("positions", 2, 2, 79, 64, 2, Decimal("87.50")),
        # one more, of the position that is still open, 97 - 95; nothing was open for a minute of nine
        ("trades", 8, 8, 81, Decimal("14.8"), 8, Decimal("88.89")),
    ]


def random_trades(count: int, seed: int) -> list[Execution]:
    """So many trades of one bot, one after the other, at random prices and times."""
    draw = random.Random(seed)
    made, minute = [], 0
    for number in range(1, count + 1):
        minute += draw.randint(1, 2_000)
        entry, exit_ = draw.randint(9_000, 11_000), draw.randint(9_000, 11_000)
        side, other = draw.choice([("Buy", "Sell"), ("Sell", "Buy")])
        quantity, fee = draw.choice(["0.5", "1", "2.25"]), draw.choice(["0.1", "-0.05", "0.333333"])
        made.append(fill(2 * number, side, quantity, Decimal(entry) / 100, minute=minute, execFee=fee))
        minute += draw.randint(1, 2_000)
        made.append(fill(2 * number + 1, other, quantity, Decimal(exit_) / 100, minute=minute, execFee=fee))
    return made


def test_performance_and_equity_of_a_thousand_trades(house: House) -> None:
    house.land(random_trades(1_000, seed=5))
    house.increment()
    trades = pandas.DataFrame(
        house.query("select exit_time, net_pnl::float from trading.completed_trades order by exit_time, trade_id"),
        columns=["exit_time", "net_pnl"],
    ).set_index("exit_time")["net_pnl"]
    assert len(trades) == 1_000
    curve = trades.cumsum()
    peak = curve.cummax().clip(lower=0)
    equity = house.query("select cumulative_pnl::float, drawdown::float from trading.equity order by exit_time")
    assert [row[0] for row in equity] == pytest.approx(list(curve), rel=1e-9)
    assert [row[1] for row in equity] == pytest.approx(list(curve - peak), rel=1e-9, abs=1e-9)

    drawdown, by_quantstats = measures_of_quantstats(trades)
    assert [row[1] for row in equity] == pytest.approx(list(drawdown), abs=1e-6)
    for basis in ("trades", "positions"):
        found = measures(house, basis)
        for expected in (expected_measures(trades), by_quantstats):
            assert {name: float(found[name]) for name in expected} == pytest.approx(expected, rel=1e-9)
    assert found["max_drawdown"] == pytest.approx(float((peak - curve).max()), rel=1e-9)


def measures(house: House, basis: str) -> dict[str, Any]:
    [(row,)] = house.query(f"select to_jsonb(p) from trading.performance as p where basis = '{basis}'")
    return dict(row)


def measures_of_quantstats(trades: pandas.Series[float]) -> tuple[pandas.Series[float], dict[str, float]]:
    """The drawdown after each trade, and what quantstats has a function for, but for its win rate.

    That one leaves out trades that end at 0.
    """
    stats: Any = import_module("quantstats.stats")  # here, for it takes three seconds

    trades = trades.tz_localize(None)
    # drawdowns there are parts of a capital
    before = pandas.Series([0.0], index=[trades.index[0] - timedelta(days=1)])
    capital = 100_000 + pandas.concat([before, trades]).cumsum()
    drawdown = stats.to_drawdown_series(capital) * capital.cummax()
    daily = trades.resample("D").sum()
    return drawdown.iloc[1:], {
        "profit_factor": stats.profit_factor(trades),
        "average_win": stats.avg_win(trades, compounded=False),
        "average_loss": stats.avg_loss(trades, compounded=False),
        "best": stats.best(trades),
        "worst": stats.worst(trades),
        "longest_winning_streak": stats.consecutive_wins(trades),
        "longest_losing_streak": stats.consecutive_losses(trades),
        "sharpe": stats.sharpe(daily, periods=365),
        "sortino": stats.sortino(daily, periods=365),
    }


def expected_measures(trades: pandas.Series[float]) -> dict[str, float]:
    """The same in pandas."""
    wins, losses = trades[trades > 0], trades[trades < 0]
    daily = trades.resample("D").sum()
    downside = ((daily.clip(upper=0) ** 2).sum() / len(daily)) ** 0.5

    def longest(outcome: pandas.Series[bool]) -> int:
        return int(outcome.groupby((~outcome).cumsum()).sum().max())

    return {
        "total_trades": len(trades),
        "winning_trades": len(wins),
        "losing_trades": len(losses),
        "win_rate_pct": round(100 * len(wins) / len(trades), 2),
        "net_pnl": trades.sum(),
        "profit_factor": wins.sum() / -losses.sum(),
        "expectancy": trades.mean(),
        "average_win": wins.mean(),
        "average_loss": losses.mean(),
        "best": trades.max(),
        "worst": trades.min(),
        "longest_winning_streak": longest(trades > 0),
        "longest_losing_streak": longest(trades < 0),
        "days": len(daily),
        "sharpe": daily.mean() / daily.std(ddof=1) * 365**0.5,
        "sortino": daily.mean() / downside * 365**0.5,
    }


def test_sums_stay_in_one_currency(house: House) -> None:
    pairs = [
        ("spot", "BTCUSDT", "spot USDT"),
        ("spot", "ETHUSDT", "spot USDT"),
        ("spot", "ETHBTC", "spot BTC"),
        ("option", "BTC-31JAN25-100000-C", "option USDC"),
        ("option", "BTC-31JAN25-100000-C-USDT", "option USDT"),
        ("inverse", "BTCUSD", "inverse BTCUSD"),
        ("linear", "BTCPERP", "linear"),
    ]
    for number, (category, symbol, _) in enumerate(pairs):
        house.land(
            [
                fill(2 * number, "Buy", 1, 100, category=category, symbol=symbol, feeCurrency=""),
                fill(2 * number + 1, "Sell", 1, 125, category=category, symbol=symbol, feeCurrency=""),
            ]
        )
    house.increment()
    assert dict(
        house.query("select market, total_trades::integer from trading.performance where basis = 'trades'")
    ) == {market: sum(other == market for *_, other in pairs) for *_, market in pairs}
    assert START + timedelta(minutes=3) in {
        moment for (moment,) in house.query("select exit_time from trading.equity where market = 'spot USDT'")
    }


def test_what_is_open_is_valued_at_the_last_price(house: House) -> None:
    inverse = {"category": "inverse", "symbol": "BTCUSD"}
    house.land(
        [
            fill(1, "Buy", 3, 100),
            fill(2, "Sell", 1, 110),
            fill(3, "Sell", 2, 107, **OTHER),
            fill(4, "Sell", 1, 105, **OTHER),
            fill(5, "Buy", 1000, 100, **inverse),
            fill(6, "Sell", 400, 125, **inverse),
            # a position that was moved here has no price of its own, and is no price for others
            fill(7, "Sell", 1, 130, symbol="MOVED"),
            fill(8, "Buy", 1, 90, symbol="MOVED", execType="MovePosition", **OTHER),
        ]
    )
    house.increment()
    house.check()
    columns = "exec_id, position_side, open_qty, last_price, unrealised_pnl"
    assert house.query(f"select {columns} from trading.open_lots order by exec_id") == [
        ("e0001", "long", 2, 105, 10),
        ("e0003", "short", 2, 105, 4),
        ("e0004", "short", 1, 105, 0),
        ("e0005", "long", 600, 125, Decimal("1.2")),
        ("e0007", "short", 1, 130, 0),
        ("e0008", "long", 1, 130, None),
    ]


def test_marts_keep_bots_accounts_and_markets_apart(house: House) -> None:
    traded = [
        (BOT, "11", "linear", "BTCUSDT"),
        (BOTS[1], "11", "linear", "BTCUSDT"),
        (BOT, "22", "linear", "BTCUSDT"),
        (BOT, "11", "spot", "BTCUSDT"),
        (BOT, "11", "linear", "ETHUSDT"),
    ]
    profits = {place: 2**number for number, place in enumerate(traded)}
    minute = 0
    for _ in range(2):
        for side, price in (("Buy", 0), ("Sell", 1)):
            for place in traded:  # in turn, so that one queue or one running sum would mix them
                bot, account, category, symbol = place
                minute += 1
                common = {"orderLinkId": f"{bot}:any", "account": account, "category": category, "symbol": symbol}
                house.land([fill(minute, side, 1, 100 + price * profits[place], **common)])
    house.increment()
    house.check()
    names = "bot_id, account_uid, category, symbol"
    for mart, column, rows in (
        ("positions", "net_pnl", 2),
        ("completed_trades_summary", "net_pnl", 1),
        ("exit_reason_breakdown", "total_pnl", 1),
    ):
        sums = house.query(f"select {names}, sum({column})::integer, count(*) from trading.{mart} group by {names}")
        assert {row[:4]: row[4:] for row in sums} == {each: (2 * profits[each], rows) for each in traded}, mart
    by_market = {(BOT, "11", "linear"): 34, (BOTS[1], "11", "linear"): 4, (BOT, "22", "linear"): 8}
    by_market[BOT, "11", "spot USDT"] = 16
    for mart, column in (("equity", "max(cumulative_pnl)"), ("performance", "max(net_pnl)")):
        sums = house.query(
            f"select bot_id, account_uid, market, {column}::integer from trading.{mart} group by 1, 2, 3"
        )
        assert {row[:3]: row[3] for row in sums} == by_market, mart


def test_the_functions_and_columns_that_were_promised(house: House) -> None:
    house.land(
        [
            fill(1, "Buy", 1, 100, execFee="0.5"),
            fill(2, "Sell", 1, 111, execFee="0.5", orderLinkId=f"{BOT}:take_profit:1736121900"),
            fill(3, "Buy", 1, 50, **OTHER),
            fill(4, "Sell", 1, 49, **OTHER),
            fill(5, "Buy", 1, 100, execType="Funding", execFee="0.25", minute=1.5),
        ]
    )
    house.increment()
    summary = "bot_id, market, total_trades, win_rate_pct, net_pnl, funding_pnl, total_pnl, total_fees"
    assert house.query(f"select {summary} from trading.get_trading_summary(null, null)") == [
        (BOTS[1], "linear", 1, 0, -1, 0, -1, 0),
        (BOT, "linear", 1, 100, 10, Decimal("-0.25"), Decimal("9.75"), 1),
    ]
    for bot, total in ((BOTS[1], -1), (BOT, Decimal("9.75"))):
        assert house.query(f"select bot_id, total_pnl from trading.get_trading_summary('{bot}', null)") == [
            (bot, total)
        ]
    assert house.query(f"select * from trading.get_trading_summary('{BOT}', 1)") == []
    assert house.query(f"select net_pnl from trading.get_recent_trades('{BOT}', 5)") == [(10,)]
    assert house.query("select bot_id from trading.get_recent_trades(null, 1)") == [(BOTS[1],)]
    assert house.query(
        "select bot_id, exit_reason, total_trades, net_pnl from trading.get_exit_reason_breakdown(null, null)"
    ) == [(BOTS[1], "entry", 1, -1), (BOT, "take_profit", 1, 10)]
    assert house.query(f"select net_pnl from trading.get_exit_reason_breakdown('{BOT}', null)") == [(10,)]
    assert house.query(
        "select trade_date::text, total_trades, net_pnl, funding_pnl, total_pnl from trading.completed_trades_summary"
        f" where bot_id = '{BOT}'"
    ) == [("2025-01-06", 1, 10, Decimal("-0.25"), Decimal("9.75"))]
    assert house.query("select distinct source, pg_typeof(id)::text from trading.completed_trades") == [
        ("bybit_api", "bigint")
    ]
    indexes = "\n".join(
        text for (text,) in house.query("select indexdef from pg_indexes where tablename = 'completed_trades'")
    )
    assert "(bot_id, exit_reason)" in indexes
    assert "(bot_id, exit_time) WHERE (exit_time >= " in indexes
    bound = (
        "select obj_description(oid)::date = current_date - 90,"
        " position((current_date - 90)::text in pg_get_indexdef(oid)) > 0"
        " from pg_class where oid = 'trading.completed_trades_recent'::regclass"
    )
    house.execute("comment on index trading.completed_trades_recent is '2025-01-06'")
    house.increment()
    assert house.query(bound) == [(True, True)]
