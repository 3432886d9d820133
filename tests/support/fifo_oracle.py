"""Attribution and first-in-first-out matching in plain Python: what the trades should be, from the payloads alone.

It keeps a long and a short queue of lots for each holder and walks fill by fill, where the models compute on sets.
Amounts are Decimals, quotients are cut after 18 decimals, as the models define.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_DOWN, Context, Decimal, Inexact, localcontext
from typing import Any

EXACT = Context(prec=400, traps=[Inexact])
CUT = Decimal("1e-18")
UNASSIGNED = "unassigned"
FILL_TYPES = {"Trade", "AdlTrade", "BustTrade", "Settle", "Delivery", "BlockTrade"}
MOVE_TYPES = {"MovePosition", "FutureSpread"}
HEDGE_CATEGORIES = {"linear", "inverse"}
EXCHANGE_REASONS = (
    *(("execType", "AdlTrade", "adl"), ("execType", "BustTrade", "liquidation"), ("execType", "Delivery", "delivery")),
    *(("execType", "Settle", "settlement"), ("execType", "MovePosition", "moved")),
    ("execType", "FutureSpread", "moved"),
    *(("stopOrderType", "StopLoss", "stop_loss"), ("stopOrderType", "TakeProfit", "take_profit")),
    *(("stopOrderType", "TrailingStop", "trailing_stop"), ("createType", "CreateByClosing", "closing")),
)
MAY_OPEN = {"moved"}
QUOTES = ("USDT", "USDC", "USD")


@dataclass(frozen=True)
class Execution:
    """A landed execution."""

    exec_id: str
    category: str
    exec_time: datetime
    payload: Mapping[str, Any]
    account: str = "main"


@dataclass
class Lot:
    """What a fill opened, and what of it is left."""

    fill: Fill
    attributed_by: str
    opened: Decimal
    offset: Decimal  # of the fill, where what is left begins
    left: Decimal


@dataclass
class Fill:
    """An execution as the matching sees it; amounts in the currency of the profit."""

    exec_id: str
    account: str
    category: str
    symbol: str
    time: datetime
    seq: int
    order_id: str
    client_order_id: str | None
    side: str
    price: Decimal | None
    quantity: Decimal
    commission: Decimal
    closed_size: Decimal | None
    link_bot: str | None
    reason: str
    only_closes: bool
    moved: bool

    def fee_between(self, start: Decimal, end: Decimal) -> Decimal:
        """The share of the fee between two points of the quantity."""
        return self._fee_up_to(end) - self._fee_up_to(start)

    def _fee_up_to(self, point: Decimal) -> Decimal:
        return self.commission if point == self.quantity else cut(self.commission * point, self.quantity)


@dataclass
class Pair:
    """Entry order and exit order of a trade, summed up."""

    quantity: Decimal = Decimal(0)
    entry_value: Decimal = Decimal(0)
    exit_value: Decimal = Decimal(0)
    gross: Decimal = Decimal(0)
    invested: Decimal = Decimal(0)
    entry_commission: Decimal = Decimal(0)
    exit_commission: Decimal = Decimal(0)
    sides: set[tuple[str, str]] = field(default_factory=set)
    entry_times: list[datetime] = field(default_factory=list)
    exit_times: list[datetime] = field(default_factory=list)
    reasons: set[tuple[str, str]] = field(default_factory=set)
    attributed: set[tuple[str, str]] = field(default_factory=set)
    modes: set[str] = field(default_factory=set)
    moved: bool = False


@dataclass
class Market:
    """One symbol of an account: who holds what, and the account's own position as the exchange keeps it."""

    queues: dict[tuple[str, str], deque[Lot]] = field(default_factory=dict)  # by holder and the side that opened
    account: dict[str, Decimal] = field(default_factory=lambda: {"Buy": Decimal(0), "Sell": Decimal(0)})
    hedge: bool = False

    def held(self, holder: str, side: str) -> Decimal:
        """What a holder has open on a side."""
        return sum((lot.left for lot in self.queues.get((holder, side), ())), Decimal(0))

    def holders(self, side: str) -> dict[str, Decimal]:
        """Everybody who has something open on a side."""
        found = {holder: self.held(holder, side) for holder, opened in self.queues if opened == side}
        return {holder: held for holder, held in found.items() if held > 0}


@dataclass
class Ledger:
    """All that comes out; keys start with (account, category, symbol, holder)."""

    pairs: dict[tuple[str, str, str, str, str, str], Pair] = field(default_factory=dict)
    open_lots: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    unmatched: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    disagreements: set[str] = field(default_factory=set)  # with closedSize
    traded: Decimal = Decimal(0)
    fees_paid: Decimal = Decimal(0)


def cut(dividend: Decimal, divisor: Decimal) -> Decimal:
    """The quotient, cut towards zero after 18 decimals."""
    with localcontext(Context(prec=400, rounding=ROUND_DOWN)):
        return (dividend / divisor).quantize(CUT)


def number(value: object) -> Decimal | None:
    """A finite decimal number, or None."""
    text = str(value)
    return Decimal(text) if re.fullmatch(r"-?\d+(\.\d*)?([eE][+-]?\d{1,2})?", text) else None


def linked(client_order_id: str | None, bots: Iterable[str]) -> tuple[str | None, str | None]:
    """The bot and the reason a client order id names."""
    for bot in sorted(bots, key=len, reverse=True):
        rest = (client_order_id or "").removeprefix(bot)
        if client_order_id and client_order_id.startswith(bot) and (rest == "" or rest[0] in ":-_"):
            if rest[:1] == ":":
                reason = rest[1:].split(":")[0]
            else:
                time = r"\d*" if len(client_order_id) >= 36 else r"(\d{9,})?"
                reason = re.sub(rf"(^|[:_-]){time}$", "", rest[1:])
            return bot, reason or None
    return None, None


def base_coin(symbol: str) -> str:
    """The coin that a spot pair trades."""
    return next(symbol.removesuffix(quote) for quote in QUOTES if symbol.endswith(quote))


def as_fill(execution: Execution, bots: Iterable[str]) -> Fill | None:
    """The execution as a fill; None if it is none."""
    item = execution.payload
    symbol, currency = item.get("symbol") or "", item.get("feeCurrency") or ""
    price, quantity, fee = number(item.get("execPrice")), number(item.get("execQty")), number(item.get("execFee"))
    moved = item.get("execType") in MOVE_TYPES
    if item.get("execType") not in FILL_TYPES | MOVE_TYPES or not symbol or item.get("side") not in ("Buy", "Sell"):
        return None
    if quantity is None or (price is not None and price < 0):
        return None
    if not moved and (price is None or (price == 0 and execution.category == "inverse")):
        return None
    if execution.category == "spot" and not currency and item["side"] == "Buy":
        currency = base_coin(symbol)
    fee = fee or Decimal(0)
    in_base = bool(currency) and symbol.startswith(currency)
    dollar = execution.category in ("linear", "option") and currency in ("USDT", "USDC", "USD")
    commission = fee if not currency or in_base or symbol.endswith(currency) or dollar else Decimal(0)
    received = quantity - fee if execution.category == "spot" and item["side"] == "Buy" and in_base else quantity
    if received <= 0 or quantity <= 0:
        return None
    if in_base and execution.category != "inverse":
        commission = fee * (price or Decimal(0))
    bot, reason = linked(item.get("orderLinkId") or None, bots)
    by_exchange = next((name for key, value, name in EXCHANGE_REASONS if item.get(key) == value), None)
    fallback = by_exchange or ("user" if item.get("createType") == "CreateByUser" else "unknown")
    closed_size = number(item.get("closedSize")) if execution.category != "spot" else None
    sells_own = execution.category == "spot" and item["side"] == "Sell" and str(item.get("isLeverage")) != "1"
    return Fill(
        exec_id=execution.exec_id,
        account=execution.account,
        category=execution.category,
        symbol=symbol,
        time=execution.exec_time,
        seq=int(item.get("seq", 0)),
        order_id=item.get("orderId") or execution.exec_id,
        client_order_id=item.get("orderLinkId") or None,
        side=item["side"],
        price=price,
        quantity=received,
        commission=commission,
        closed_size=closed_size if closed_size is not None and closed_size >= 0 else None,
        link_bot=bot,
        reason=(reason if bot else None) or fallback,
        only_closes=sells_own or (bot is None and bool(by_exchange) and by_exchange not in MAY_OPEN),
        moved=moved,
    )


def match(executions: Iterable[Execution], bots: Iterable[str]) -> Ledger:
    """Walk all executions and say what they come to."""
    bots = list(bots)
    with localcontext(EXACT):
        markets: dict[tuple[str, str, str], list[Fill]] = {}
        ledger = Ledger()
        for execution in executions:
            fill = as_fill(execution, bots)
            if fill:
                markets.setdefault((fill.account, fill.category, fill.symbol), []).append(fill)
                ledger.traded += fill.quantity
                ledger.fees_paid += fill.commission
        for fills in markets.values():
            market = Market()
            for fill in sorted(fills, key=lambda each: (each.time, each.seq, each.exec_id)):
                _take(fill, market, ledger)
            for (holder, _), lots in market.queues.items():
                for lot in lots:
                    ledger.open_lots[lot.fill.exec_id] = (
                        holder,
                        lot.attributed_by,
                        lot.fill.side,
                        lot.opened,
                        lot.left,
                        lot.fill.fee_between(lot.offset, lot.offset + lot.left),
                    )
        return ledger


def _take(fill: Fill, market: Market, ledger: Ledger) -> None:
    """Let one fill close, stay unmatched and open."""
    against = "Sell" if fill.side == "Buy" else "Buy"
    said, known = fill.closed_size, market.account[against]
    if said == 0 and known > 0 and fill.category in HEDGE_CATEGORIES and not fill.only_closes:
        market.hedge = True
    hedge = market.hedge

    candidates = market.holders(against) if said != 0 else {}
    if fill.link_bot:
        holder, found_by = fill.link_bot, "link_id"
    elif len(candidates) == 1:
        (holder,) = candidates
        found_by = "open_position"
    else:
        holder, found_by = UNASSIGNED, "several_positions" if candidates else "no_position"

    limit = fill.quantity
    if said is not None and (hedge or not fill.link_bot):
        limit = min(limit, said)
    lots = market.queues.setdefault((holder, against), deque())
    done = Decimal(0)
    while done < limit and lots:
        piece = min(limit - done, lots[0].left)
        _pair(lots[0], piece, fill, done, holder, found_by, "hedge" if hedge else "one_way", ledger)
        lots[0].offset += piece
        lots[0].left -= piece
        done += piece
        if lots[0].left == 0:
            lots.popleft()

    rest = fill.quantity - done
    if fill.only_closes:
        surplus = rest
    elif not fill.link_bot:
        surplus = min(rest, max(Decimal(0), (sum(candidates.values()) if said is None else said) - done))
    elif said is None:
        surplus = Decimal(0)
    else:
        # in one-way mode the exchange nets all bots' positions, so this may have closed another bot's
        surplus = min(rest, max(Decimal(0), said - (done if hedge else max(done, known))))
    if surplus:
        share = fill.fee_between(done, done + surplus)
        ledger.unmatched[fill.exec_id] = (holder, found_by, fill.quantity, surplus, share)
    opened = rest - surplus
    if opened:
        opener = fill.link_bot or UNASSIGNED
        lot = Lot(fill, found_by if opener == holder else "no_position", opened, done + surplus, opened)
        market.queues.setdefault((opener, fill.side), deque()).append(lot)
    _move_account(fill, market, ledger)


def _move_account(fill: Fill, market: Market, ledger: Ledger) -> None:
    """Move the account's own position, and compare what it closed with what the exchange says."""
    against = "Sell" if fill.side == "Buy" else "Buy"
    known = market.account[against]
    taken = min(fill.quantity, known if fill.closed_size is None else fill.closed_size)
    netted = min(fill.quantity, known)
    if fill.closed_size is not None and fill.closed_size != (taken if market.hedge else max(netted, taken)):
        ledger.disagreements.add(fill.exec_id)
    opened = Decimal(0) if fill.only_closes else fill.quantity - taken
    if market.hedge:
        market.account[against] = max(Decimal(0), known - taken)
        market.account[fill.side] += opened
    else:
        # one net position: on the side that a fill closes nothing, or all of what was there
        market.account[against] = max(Decimal(0), known - taken) if taken == fill.quantity else Decimal(0)
        market.account[fill.side] = (market.account[fill.side] if taken == 0 else Decimal(0)) + opened
    if not any(market.account.values()):
        market.hedge = False


def _pair(
    lot: Lot, piece: Decimal, fill: Fill, done: Decimal, holder: str, found_by: str, mode: str, ledger: Ledger
) -> None:
    """Book a matched piece."""
    entry = lot.fill
    key = (fill.account, fill.category, fill.symbol, holder, entry.order_id, fill.order_id)
    pair = ledger.pairs.setdefault(key, Pair())
    direction = 1 if entry.side == "Buy" else -1
    pair.quantity += piece
    pair.modes.add(mode)
    if entry.moved or fill.moved:
        pair.moved = True
        ends = [each.price for each in (entry, fill) if not each.moved] or [fill.price, entry.price]
        price = next((each for each in ends if each is not None), Decimal(0))
        pair.entry_value += price * piece
        pair.exit_value += price * piece
    else:
        assert entry.price is not None
        assert fill.price is not None
        pair.entry_value += entry.price * piece
        pair.exit_value += fill.price * piece
        if fill.category == "inverse":
            pair.gross += cut(piece * (fill.price - entry.price) * direction, entry.price * fill.price)
            pair.invested += cut(piece, entry.price)
        else:
            pair.gross += piece * (fill.price - entry.price) * direction
            pair.invested += entry.price * piece
    pair.entry_commission += entry.fee_between(lot.offset, lot.offset + piece)
    pair.exit_commission += fill.fee_between(done, done + piece)
    pair.sides.add((entry.side, fill.side))
    pair.entry_times.append(entry.time)
    pair.exit_times.append(fill.time)
    pair.reasons.add((entry.reason, fill.reason))
    pair.attributed.add((lot.attributed_by, found_by))
