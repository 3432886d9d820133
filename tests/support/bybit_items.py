"""Executions as Bybit lists them, for the tests and for the fake Bybit."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

DAY = 86_400_000
"""Milliseconds."""
CATEGORIES = ("linear", "inverse", "spot", "option")
BOTS = ("shortseller_001", "lxalgo_001", "momentum_001")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def days_ago(days: float) -> int:
    """Unix milliseconds."""
    return now_ms() - int(days * DAY)


def execution(exec_id: str, at: int, **overrides: Any) -> dict[str, Any]:
    """One item as Bybit lists it, at Unix milliseconds."""
    return {
        "symbol": "BTCUSDT",
        "orderType": "Market",
        "underlyingPrice": "",
        "orderLinkId": f"{BOTS[0]}-entry-{at // 1000}",
        "side": "Sell",
        "indexPrice": "",
        "orderId": f"order-{exec_id}",
        "stopOrderType": "UNKNOWN",
        "leavesQty": "0",
        "execTime": str(at),
        "feeCurrency": "",
        "isMaker": False,
        "execFee": "0.0011",
        "feeRate": "0.00055",
        "execId": exec_id,
        "tradeIv": "",
        "blockTradeId": "",
        "markPrice": "20000.5",
        "execPrice": "20000",
        "markIv": "",
        "orderQty": "0.001",
        "orderPrice": "19000",
        "execValue": "20",
        "execType": "Trade",
        "execQty": "0.001",
        "closedSize": "",
        "seq": at % 1_000_000_007,
        "createType": "CreateByUser",
        **overrides,
    }


def trades(count: int, start: int, end: int, seed: int = 1) -> Iterator[dict[str, Any]]:
    """So many executions between two moments (Unix milliseconds): bots that open and close, with ties in time."""
    draw = random.Random(seed)
    open_side: dict[tuple[str, str], str] = {}
    at = start
    for number in range(count):
        if draw.random() > 0.2:
            at = start + (end - start) * number // count
        bot, symbol = draw.choice(BOTS), draw.choice(("BTCUSDT", "ETHUSDT", "SOLUSDT"))
        entry = open_side.pop((bot, symbol), None)
        side = draw.choice(("Buy", "Sell")) if entry is None else {"Buy": "Sell", "Sell": "Buy"}[entry]
        if entry is None:
            open_side[bot, symbol] = side
        reason = "entry" if entry is None else draw.choice(("take_profit", "stop_loss", "signal"))
        price = draw.randrange(1_000, 2_000)
        yield execution(
            f"{seed:04d}-{number:08d}",
            at,
            symbol=symbol,
            side=side,
            orderId=f"{seed}-{number}",
            orderLinkId=f"{bot}-{reason}"[:36],
            execPrice=str(price),
            execQty="0.01",
            closedSize="0" if entry is None else "0.01",
            execFee=f"{price * 0.0000055:.8f}",
            seq=number,
        )
