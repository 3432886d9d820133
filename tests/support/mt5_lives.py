"""Random lives of MT5 accounts, and what must be known of each in the end.

A life is a ledger of its own: it opens, adds to, closes and reverses positions, pays money in and out, and keeps the
balance as it goes. A service renders it in one of three shapes. What is expected is read from the ledger; none of it is
computed as the pipeline does.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.support.fake_mt5 import info, iso, position, trade
from tests.support.mt5_items import deal, operation

SHAPES = ("finished", "one ticket", "deals")
"""A row per closing with its `position_id`; the same under the position's own ticket; the terminal's deals."""
LATEST = 4
"""After how many syncs a late row is there, at most."""
CENT = Decimal("0.01")


@dataclass
class Held:
    """A position of the ledger: signed lots, and what has been made of it."""

    identifier: int
    ticket: int
    lots: Decimal
    opened_at: int
    was_listed: bool = False
    was_listed_whole: bool = False
    is_whole: bool = True
    net: Decimal = Decimal(0)


@dataclass
class Life:
    """One account."""

    name: str
    netting: bool
    shape: str
    draw: random.Random
    balance: Decimal = Decimal("10000.00")
    held: dict[int, Held] = field(default_factory=dict)
    ended: dict[int, Decimal] = field(default_factory=dict)
    moved: Decimal = Decimal(0)
    known_whole: set[int] = field(default_factory=set)  # had been listed with all of its volume
    rows: list[tuple[int, dict[str, Any]]] = field(default_factory=list)  # from which sync on, and the row
    sync: int = 0
    clock: int = 0
    last: int = 1000

    def number(self) -> int:
        """A new ticket."""
        self.last += self.draw.randint(1, 9)
        return self.last

    def money(self) -> Decimal:
        """A profit or a loss."""
        return Decimal(self.draw.randint(-9000, 10_000)) / 100

    def step(self) -> None:
        """Let one thing happen."""
        self.clock += self.draw.randint(60, 4000)
        kinds = [self.open, self.open, self.close, self.close, self.pay]
        if self.netting:
            kinds += [self.add, self.reverse]
        if not self.held:
            kinds = [self.open, self.open, self.pay]
        if self.netting and len(self.held) > 2:
            kinds = [self.close, self.add, self.reverse]
        self.draw.choice(kinds)()
        if self.held and self.draw.random() < 0.2:  # re-opened with its swap charged: another ticket
            self.draw.choice(list(self.held.values())).ticket = self.number()

    def late(self, of: Held | None = None) -> int:
        """The sync from which on a row shows. It is late only where somebody can know that it is missing.

        That is, of a position that a list had. Where finished trades tell of it, and of what was paid, the balance of a
        sync before will do: from the second sync on.
        """
        noticed = of.was_listed if of and self.shape == "deals" else self.sync > 0
        return self.sync + (self.draw.randint(0, LATEST) if noticed else 0)

    def open(self) -> None:
        """Open a position."""
        lots = Decimal(self.draw.randint(1, 30)) / 10 * self.draw.choice([1, -1])
        number = self.number()
        self.held[number] = Held(number, number, lots, self.clock)
        self.traded(self.held[number], 0, lots, Decimal(0))

    def add(self) -> None:
        """Add to a position of a netting account."""
        held = self.draw.choice(list(self.held.values()))
        lots = Decimal(self.draw.randint(1, 20)) / 10 * (1 if held.lots > 0 else -1)
        held.lots += lots
        self.traded(held, 0, lots, Decimal(0))

    def close(self) -> None:
        """Close a position, or a part of it."""
        held = self.draw.choice(list(self.held.values()))
        tenths = int(abs(held.lots) * 10)
        part = Decimal(self.draw.choice([tenths, self.draw.randint(1, tenths)])) / 10
        self.closed(held, part)

    def closed(self, held: Held, part: Decimal) -> None:
        """Close so much of a position."""
        lots = part if held.lots < 0 else -part
        held.lots += lots
        held.is_whole = False
        if held.lots == 0:
            if held.was_listed_whole and not self.netting:
                self.known_whole.add(held.identifier)
            del self.held[held.identifier]
        self.traded(held, 1, lots, self.money())
        if held.lots == 0:
            self.ended[held.identifier] = held.net

    def reverse(self) -> None:
        """Turn a position of a netting account round."""
        held = self.draw.choice(list(self.held.values()))
        rest = Decimal(self.draw.randint(1, 20)) / 10
        lots = -(held.lots + (rest if held.lots > 0 else -rest))
        before, held.lots = abs(held.lots), held.lots + lots
        held.ticket = self.number()
        self.traded(held, 2, lots, self.money(), before)

    def pay(self) -> None:
        """Pay in or out, or get a credit, which the balance does not have."""
        amount = self.money() * 10
        kind = self.draw.choice(["balance", 2, "DEAL_TYPE_CORRECTION", "credit", 3])
        is_credit = kind in ("credit", 3)  # which nobody would miss
        if not is_credit:
            self.balance += amount
            self.moved += amount
        row = operation(self.number(), float(amount), self.clock, type=kind, symbol=self.draw.choice([None, ""]))
        self.rows.append((self.sync if is_credit else self.late(), row))

    def traded(self, held: Held, entry: int, lots: Decimal, profit: Decimal, closed: Decimal | None = None) -> None:
        """Book a deal, and add the row that the service has of it."""
        of_deals = self.shape == "deals"
        commission = -abs(lots) if of_deals or entry else Decimal(0)
        swap = -CENT * self.draw.randint(0, 99) if entry else Decimal(0)
        net = profit + commission + swap
        self.balance += net
        held.net += net
        amounts: dict[str, Any] = {"profit": float(profit), "commission": float(commission), "swap": float(swap)}
        if of_deals:
            row = deal(
                *(self.number(), entry, held.identifier, self.clock),
                **{"type": 0 if lots > 0 else 1, "volume": float(abs(lots)), **amounts},
            )
        elif entry == 0:
            return
        else:
            row = trade(
                held.identifier if self.shape == "one ticket" else self.number(),
                self.clock,
                open_time=iso(held.opened_at),
                type="sell" if lots > 0 else "buy",
                volume=float(abs(lots) if closed is None else closed),
                **({"position_id": held.identifier} if self.shape == "finished" else {}),
                **amounts,
            )
        self.rows.append((self.late(held), row))

    def served(self) -> dict[str, Any]:
        """What the service says now."""
        for held in self.held.values():
            held.was_listed = True
            held.was_listed_whole = held.was_listed_whole or held.is_whole
        listed = [
            position(
                held.ticket,
                identifier=held.identifier,
                type="buy" if held.lots > 0 else "sell",
                volume=float(abs(held.lots)),
                open_time=iso(held.opened_at),
                profit=float(self.money()),
            )
            for held in self.held.values()
        ]
        rows = [row for since, row in self.rows if since <= self.sync]
        return {"info": info(float(self.balance)), "positions": listed, "history": rows}

    def whole(self, identifier: int) -> bool:
        """Whether every row of a position is there."""
        return all(
            since <= self.sync
            for since, row in self.rows
            if identifier in (row.get("position_id"), row["ticket"] if row["symbol"] else None)
        )

    def covered(self, identifier: int) -> bool:
        """Whether every row of a position that closes is there."""
        return all(
            since <= self.sync
            for since, row in self.rows
            if row.get("entry") != 0
            and identifier in (row.get("position_id"), row["ticket"] if row["symbol"] else None)
        )

    def end(self) -> None:
        """Close what is open."""
        for held in list(self.held.values()):
            self.clock += 60
            self.closed(held, abs(held.lots))


def lives(count: int, seed: int, start: int) -> Iterator[Life]:
    """Accounts of every kind and shape that begin at a moment, Unix seconds."""
    for number in range(count):
        draw = random.Random(f"{seed} {number}")
        life = Life(f"life {number:02d}", number % 2 == 1, SHAPES[number % 3], draw)
        life.clock = start
        yield life
