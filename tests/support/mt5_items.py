"""Rows of a history that are no finished trades: deals of the terminal, and balance operations."""

from __future__ import annotations

import time
from typing import Any

from tests.support.fake_mt5 import iso


def deal(ticket: int, entry: int | str, position: int, moment: float | None = None, **overrides: Any) -> dict[str, Any]:
    """A row of the history as the terminal's `history_deals_get` has it."""
    moment = time.time() - 1800 if moment is None else moment
    return {
        "ticket": ticket,
        "order": ticket,
        "time": int(moment),
        "time_msc": int(moment * 1000),
        "type": 0,
        "entry": entry,
        "magic": 7,
        "position_id": position,
        "reason": 3,
        "volume": 1.0,
        "price": 1.1,
        "commission": 0.0,
        "swap": 0.0,
        "profit": 0.0,
        "fee": 0.0,
        "symbol": "EURUSD",
        "comment": "",
        "external_id": "",
        **overrides,
    }


def operation(ticket: int, amount: float, moment: float | None = None, **overrides: Any) -> dict[str, Any]:
    """A balance operation in a history."""
    moment = time.time() - 1800 if moment is None else moment
    return {
        "ticket": ticket,
        "symbol": None,
        "type": "balance",
        "volume": 0.0,
        "profit": amount,
        "close_time": iso(moment),
        "comment": "deposit",
        **overrides,
    }
