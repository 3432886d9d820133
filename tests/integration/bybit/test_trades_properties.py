"""Any history of executions, in any slices: the trades equal the oracle's and those of one rebuild."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import timedelta

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support.fifo_oracle import Execution
from tests.support.trade_house import BOTS, START, House

decimals = st.sampled_from(["0.1", "0.3", "0.25", "1", "2", "3.000000000000000001"])
senders = st.sampled_from([*BOTS[:2], *BOTS[:2], "stranger_1", None, None])
orders = st.tuples(senders, st.sampled_from(["Buy", "Sell"]), st.integers(1, 3))
accounts = st.sampled_from(["11", "11", "11", "testnet-11"])
RARE = ["BustTrade", "Funding", "UNKNOWN", "Settle", "MovePosition"]
nonsense = st.sampled_from([{"execPrice": "NaN"}, {"execQty": "Infinity"}, {"side": ""}, {"execQty": "0"}])


@st.composite
def executions(draw: st.DrawFn) -> Execution:
    """An execution of one of a few orders; ids repeat, so that later ones correct earlier ones."""
    bot, side, number = draw(orders)
    category, symbol, base = draw(
        st.sampled_from([("linear", "BTCUSDT", "BTC"), ("inverse", "BTCUSD", "BTC"), ("spot", "BTCUSDT", "BTC")])
    )
    reason = "entry" if number == 1 else "exit"
    payload = {
        "symbol": symbol,
        "orderId": f"{bot}-{side}-{number}",
        "orderLinkId": f"{bot}{draw(st.sampled_from([':', '-', '_']))}{reason}" if bot else "",
        "side": side,
        "execPrice": draw(st.sampled_from(["7", "100", "99999.5", "0.000123", "0"])),
        "execQty": draw(decimals),
        "execFee": draw(st.sampled_from(["0", "0.01", "0.000000000000000007", "-0.003", "0.05"])),
        "feeCurrency": draw(st.sampled_from(["USDT", "USD", base, "", "MNT"])),
        "execType": draw(st.sampled_from(["Trade"] * 8 + RARE)),
        "closedSize": draw(st.sampled_from(["", "0", "0", "0.3", "1", "2.5", "abc"])),
        "stopOrderType": draw(st.sampled_from(["", "", "StopLoss"])),
        "createType": "CreateByUser",
        "isLeverage": draw(st.sampled_from(["0", "0", "1"])),
        "isMaker": False,
        "seq": draw(st.integers(0, 1)),
    }
    if draw(st.integers(0, 15)) == 0:
        payload |= draw(nonsense)
    moment = START + timedelta(minutes=draw(st.integers(0, 9)))
    account = draw(accounts)
    return Execution(f"{account}-{draw(st.integers(0, 40))}", category, moment, payload, account)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # an example takes half a second: too much to shrink by
)
@given(history=st.lists(st.lists(executions(), min_size=1, max_size=14), min_size=1, max_size=6))
def test_any_history_in_any_slices_equals_the_oracle_and_one_rebuild(
    house: House, history: list[list[Execution]]
) -> None:
    house.empty()
    for batch in history:
        house.land(batch)
        house.increment()
        house.check()
    in_increments = house.rows()
    stamps = house.query("select trade_id, created_at, updated_at from trading.completed_trades order by trade_id")
    house.refresh()
    house.check()
    assert house.rows() == in_increments
    after = house.query("select trade_id, created_at, updated_at from trading.completed_trades order by trade_id")
    assert after == stamps
    house.execute("truncate staging.int_bybit__fills, trading.completed_trades")
    house.increment()
    assert house.rows() == in_increments


@dataclass
class Exchange:
    """Accounts that trade as on Bybit: in one mode or the other, switched when flat, with a true `closedSize`."""

    random: random.Random
    hedge: dict[str, bool] = field(default_factory=dict)
    positions: dict[tuple[str, str], int] = field(default_factory=dict)  # by account and side that opened
    written: int = 0

    def fill(self) -> Execution:
        """The next execution."""
        self.written += 1
        account = self.random.choice(["11", "11", "22"])
        held = {side: self.positions.get((account, side), 0) for side in ("Buy", "Sell")}
        if not any(held.values()):
            self.hedge[account] = self.random.random() < 0.5
        side, quantity = self.random.choice(["Buy", "Sell"]), self.random.randint(1, 4)
        against = "Sell" if side == "Buy" else "Buy"
        if self.hedge[account]:
            closes = held[against] > 0 and self.random.random() < 0.6
            quantity = min(quantity, held[against]) if closes else quantity
            closed = quantity if closes else 0
        else:
            closed = min(quantity, held[against])
        self.positions[account, against] = held[against] - closed
        self.positions[account, side] = held[side] + quantity - closed
        # one bot and a person: with two bots nobody can tell the modes apart before a proof
        bot = self.random.choice([BOTS[0]] * 5 + [""])
        payload = {
            "symbol": "BTCUSDT",
            "orderId": f"order-{self.written}",
            "orderLinkId": f"{bot}:any" if bot else "",
            "side": side,
            "execPrice": str(self.random.randint(90, 110)),
            "execQty": str(quantity),
            "execFee": "0.01",
            "execType": "Trade",
            "closedSize": str(closed),
            "createType": "CreateByUser",
            "seq": self.written,
        }
        return Execution(f"e{self.written}", "linear", START + timedelta(minutes=self.written), payload, account)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(seed=st.integers(0, 2**32))
def test_random_modes_agree_with_the_exchange_in_whatever_order_they_arrive(house: House, seed: int) -> None:
    draw = random.Random(seed)
    exchange = Exchange(draw)
    history = [exchange.fill() for _ in range(draw.randint(5, 40))]
    arriving = draw.sample(history, len(history))
    house.empty()
    while arriving:
        count = draw.randint(1, 15)
        house.land(arriving[:count])
        del arriving[:count]
        house.increment()
        house.check()
    in_increments = house.rows()
    house.refresh()
    assert house.rows() == in_increments
    assert house.query("select exec_id from staging.int_bybit__fills where account_closed <> exchange_closed") == []
    # what is open, by side, is what the exchange holds, but for what is unmatched
    held = {place: quantity for place, quantity in exchange.positions.items() if quantity}
    known = {
        (account, side): quantity
        for account, side, quantity in house.query(
            "select account_uid, side, sum(open_qty)::integer from trading.open_lots group by 1, 2"
        )
    }
    unmatched = house.query("select account_uid from trading.unmatched_executions")
    for account in {"11", "22"} - {name for (name,) in unmatched}:
        of_account = {side: quantity for (name, side), quantity in known.items() if name == account}
        net = of_account.get("Buy", 0) - of_account.get("Sell", 0)
        assert net == held.get((account, "Buy"), 0) - held.get((account, "Sell"), 0)
