"""Any history of executions, in any slices: the trades equal the oracle's and those of one rebuild."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support.fifo_oracle import Execution
from tests.support.trade_house import BOTS, START, House

decimals = st.sampled_from(["0.1", "0.3", "0.25", "1", "2", "3.000000000000000001"])
senders = st.sampled_from([*BOTS[:2], *BOTS[:2], "stranger_1", None, None])
orders = st.tuples(senders, st.sampled_from(["Buy", "Sell"]), st.integers(1, 3))
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
        "execType": draw(st.sampled_from(["Trade"] * 8 + ["BustTrade", "Funding", "UNKNOWN", "Settle"])),
        "closedSize": draw(st.sampled_from(["", "0", "0", "0.3", "1", "2.5", "abc"])),
        "stopOrderType": draw(st.sampled_from(["", "", "StopLoss"])),
        "createType": "CreateByUser",
        "isMaker": False,
        "seq": draw(st.integers(0, 1)),
    }
    if draw(st.integers(0, 15)) == 0:
        payload |= draw(nonsense)
    moment = START + timedelta(minutes=draw(st.integers(0, 9)))
    return Execution(f"e{draw(st.integers(0, 40))}", category, moment, payload)


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
