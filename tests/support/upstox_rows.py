"""Rows of Upstox's instrument masters, as Upstox has them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone
from typing import Any

IST = timezone(timedelta(hours=5, minutes=30))


def expiry_ms(day: date) -> int:
    """23:59:59 in India, in Unix milliseconds."""
    return int(datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=IST).timestamp() * 1000)


def share(symbol: str, isin: str, **overrides: Any) -> dict[str, Any]:
    """A share's row of the NSE master."""
    return {
        "segment": "NSE_EQ",
        "name": f"{symbol} LIMITED",
        "exchange": "NSE",
        "isin": isin,
        "instrument_type": "EQ",
        "instrument_key": f"NSE_EQ|{isin}",
        "lot_size": 1,
        "freeze_quantity": 100000.0,
        "exchange_token": str(len(symbol) * 101),
        "tick_size": 5.0,
        "trading_symbol": symbol,
        **overrides,
    }


def index(key: str, symbol: str) -> dict[str, Any]:
    """An index's row."""
    return {
        "segment": key.split("|")[0],
        "name": key.split("|")[1],
        "exchange": key[:3],
        "instrument_type": "INDEX",
        "instrument_key": key,
        "exchange_token": "26000",
        "trading_symbol": symbol,
    }


def contract(
    token: int, underlying: Mapping[str, Any], expiry: date, kind: str, strike: float = 0.0, **overrides: Any
) -> dict[str, Any]:
    """The row of a future or option."""
    symbol = underlying["trading_symbol"]
    return {
        "weekly": False,
        "segment": f"{underlying['exchange']}_FO",
        "name": underlying["name"],
        "exchange": underlying["exchange"],
        "expiry": expiry_ms(expiry),
        "instrument_type": kind,
        "asset_symbol": symbol,
        "underlying_symbol": symbol,
        "instrument_key": f"{underlying['exchange']}_FO|{token}",
        "lot_size": 75,
        "freeze_quantity": 1800.0,
        "exchange_token": str(token),
        "minimum_lot": 75,
        "asset_key": underlying["instrument_key"],
        "underlying_key": underlying["instrument_key"],
        "tick_size": 5.0,
        "asset_type": "INDEX" if underlying["instrument_type"] == "INDEX" else "EQUITY",
        "underlying_type": "INDEX" if underlying["instrument_type"] == "INDEX" else "EQUITY",
        "trading_symbol": f"{symbol} {strike:g} {kind} {expiry:%d %b %y}".upper(),
        "strike_price": strike,
        "qty_multiplier": 1.0,
        **overrides,
    }
