"""Carries out the requests of a plan: each is sent, and its reply landed in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from extract.records import Run
from extract.sources.upstox.candles import typed
from extract.sources.upstox.client import Upstox
from extract.sources.upstox.instruments import land_contracts, land_master
from extract.sources.upstox.landing import land_calendar, land_expiries, land_window
from extract.sources.upstox.plan import Call

CANDLE_KINDS = ("history", "intraday", "expired")


@dataclass
class Landed:
    """Counts of a reply, and what a person should know of it."""

    rows_read: int = 0
    rows_changed: int = 0
    rows_rejected: int = 0
    notes: list[str] = field(default_factory=list)


def carry_out(run: Run, upstox: Upstox, call: Call) -> Landed:
    """Send a request and land its reply.

    Raises:
        ServiceError: the API rejects it, or does not answer; nothing has landed then.
    """
    if call.kind in CANDLE_KINDS:
        return _window(run, upstox, call)
    if call.kind == "master":
        landed = land_master(run, call.subject, upstox.master(call.subject))
        notes = [
            f"{new} took over the candles of {old}: look whether it is the same share" for new, old in landed.linked
        ]
        return Landed(landed.rows_read, landed.rows_changed, landed.rows_rejected, notes)
    if call.kind == "calendar":
        return Landed(rows_rejected=land_calendar(run, upstox.holidays()))
    assert call.instrument_key is not None
    if call.kind == "expiries":
        return Landed(rows_rejected=land_expiries(run, call, upstox.expiries(call.instrument_key)))
    assert call.window_end is not None
    contracts = upstox.contracts(call.instrument_key, call.window_end)
    found = land_contracts(run, call.instrument_key, str(call.window_end), contracts)
    return Landed(found.rows_read, found.rows_changed, found.rows_rejected)


def _window(run: Run, upstox: Upstox, call: Call) -> Landed:
    assert call.instrument_key is not None
    assert call.window_start is not None
    assert call.window_end is not None
    items: list[Any]
    if call.kind == "intraday":
        items = upstox.intraday(call.instrument_key)
    elif call.kind == "expired":
        items = upstox.expired(call.instrument_key, call.window_start, call.window_end)
    else:
        items = upstox.history(call.instrument_key, str(call.timeframe), call.window_start, call.window_end)
    found = land_window(run, call, typed(items, call.window_start, call.window_end))
    notes = [f"{call.subject}: history was adjusted, so all of it is read again"] if found.is_adjusted else []
    return Landed(found.rows_read, found.rows_changed, found.rows_rejected, notes)
