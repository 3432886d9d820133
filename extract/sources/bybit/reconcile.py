"""Compares our trades with Bybit's own closed profit, per symbol and day."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from extract.sources.bybit.client import EPOCH, LONGEST_SPAN, Bybit
from extract.warehouse import Connection

CATEGORIES = ("linear", "inverse")
"""Those that Bybit keeps closed profits of."""
NUMBER = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?")

Place = tuple[str, str, date]  # category, symbol, day


@dataclass(frozen=True)
class Comparison:
    """The closed profit of a symbol and day (UTC); None where only the other side has any."""

    account_uid: str
    category: str
    symbol: str
    day: date
    ours: Decimal | None
    bybits: Decimal | None

    @property
    def difference(self) -> Decimal:
        """Ours less Bybit's."""
        return (self.ours or Decimal(0)) - (self.bybits or Decimal(0))


def compare(
    connection: Connection, bybit: Bybit, categories: list[str], since: datetime, until: datetime
) -> Iterator[Comparison]:
    """Each symbol and day with closed profit, ours or Bybit's. Moved positions are left out on both sides.

    Bybit's profit is of the average entry price, ours of the first entry. So days differ while a position is closed in
    parts, and agree in sum once it is flat.

    Args:
        connection: reads the trades.
        bybit: the account.
        categories: those read; spot and options have no closed profit at Bybit.
        since: begin of a day, UTC.
        until: the end.

    Raises:
        ServiceError: a request failed.
    """
    uid = bybit.account_uid()
    compared = [category for category in categories if category in CATEGORIES]
    bybits = _bybits(bybit, compared, since, until)
    with connection.cursor() as cursor:
        cursor.execute(
            "select category, symbol, (exit_time at time zone 'UTC')::date, sum(net_pnl)"
            " from trading.completed_trades where account_uid = %s and category = any(%s) and kind = 'trade'"
            " and exit_time >= %s and exit_time <= %s group by 1, 2, 3",
            (uid, compared, since, until),
        )
        ours: dict[Place, Decimal] = {(category, symbol, day): pnl for category, symbol, day, pnl in cursor.fetchall()}
    for place in sorted(ours.keys() | bybits.keys()):
        yield Comparison(uid, *place, ours.get(place), bybits.get(place))


def _bybits(bybit: Bybit, categories: list[str], since: datetime, until: datetime) -> dict[Place, Decimal]:
    """Bybit's closed profit by place. A record at the seam of two spans counts once."""
    sums: dict[Place, Decimal] = {}
    for category in categories:
        start, seen = since, set[str]()
        while start < until:
            end = min(start + LONGEST_SPAN, until)
            for record in bybit.closed_pnl(category, start, end):
                moment, pnl = str(record.get("updatedTime", "")), str(record.get("closedPnl", ""))
                if repr(record) in seen or record.get("execType") == "MovePosition":
                    continue
                seen.add(repr(record))
                if moment.isdecimal() and NUMBER.fullmatch(pnl):
                    day = (EPOCH + timedelta(milliseconds=int(moment))).date()
                    place = (category, str(record.get("symbol")), day)
                    sums[place] = sums.get(place, Decimal(0)) + Decimal(pnl)
            start = end
    return sums
