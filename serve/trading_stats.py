"""What each bot earns, by exit reason: statistics of the completed trades."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg2

from extract.errors import WarehouseError
from extract.warehouse import Connection, complaint

UNASSIGNED = "unassigned"
"""The bot name of trades for which no bot can be found."""
MISSING = "there are no trades yet: run tradehouse bybit backfill"

# PnL is summed per market, because sums need one currency. Linear contracts settle in dollar coins and are summed
# together. An inverse contract pays in its coin and a spot pair in its quote, so each is summed by itself.
_MARKET = "case when category = 'linear' then category else category || ' ' || symbol end"
_MEASURES = """
    count(*) as trades,
    round(100.0 * count(*) filter (where net_pnl > 0) / count(*), 2) as win_rate_pct,
    sum(net_pnl) as net_pnl,
    sum(total_commission) as fees,
    round(avg(holding_duration_seconds), 3) as average_holding_seconds
"""


@dataclass(frozen=True)
class Measures:
    """Measures of some trades. PnL is net of fees; both are in the currency of the market."""

    trades: int
    win_rate_pct: Decimal
    net_pnl: Decimal
    fees: Decimal
    average_holding_seconds: Decimal


@dataclass(frozen=True)
class MarketStats:
    """A bot's trades in one market: `linear`, or the category and symbol where PnL is in a currency of its own."""

    market: str
    total: Measures
    by_exit_reason: dict[str, Measures]


@dataclass(frozen=True)
class BotStats:
    """A bot and its trades by market; empty if it has not completed any."""

    bot_id: str
    bot_name: str | None
    markets: list[MarketStats] = field(default_factory=list)


@dataclass(frozen=True)
class Stats:
    """Everything `tradehouse bybit stats` shows; `since` is the earliest exit that counts, None for all."""

    as_of: datetime
    since: datetime | None
    bots: list[BotStats]

    def as_dict(self) -> dict[str, Any]:
        """For JSON; times are datetime objects, amounts are Decimals."""
        return asdict(self)


class UnknownBotError(Exception):
    """There is no bot of that name; the message lists the bots."""


def read_stats(connection: Connection, bot: str | None = None, days: int | None = None) -> Stats:
    """Count the trades of each bot, or of one. Reads only.

    Args:
        connection: in one transaction, so that all values are of one moment.
        bot: only this one.
        days: only trades that ended in the last so many days.

    Raises:
        UnknownBotError: there is no such bot.
        WarehouseError: there are no trades yet, or the server denies the reading.
    """
    with _reading(connection), connection.cursor() as cursor:
        cursor.execute("select now(), now() - make_interval(days => %s)", (days,))
        as_of, since = cursor.fetchone() or (None, None)
        cursor.execute("select bot_id, bot_name from trading.bots order by bot_id")
        names = dict(cursor.fetchall())
        cursor.execute(
            f"""
            select bot_id, {_MARKET} as market, exit_reason, {_MEASURES}
            from trading.completed_trades
            where exit_time >= coalesce(%s, '-infinity'::timestamptz)
            group by grouping sets ((1, 2), (1, 2, 3))
            order by bot_id, market, grouping(exit_reason) desc, net_pnl desc, exit_reason
            """,
            (since,),
        )
        found: dict[str, dict[str, MarketStats]] = {}
        for bot_id, market, reason, *measures in cursor.fetchall():
            markets = found.setdefault(bot_id, {})
            if market not in markets:  # the total comes first
                markets[market] = MarketStats(market, Measures(*measures), {})
            else:
                markets[market].by_exit_reason[reason] = Measures(*measures)
    wanted = sorted(names.keys() | found.keys())
    if bot is not None:
        require_bot(connection, bot)
        wanted = [bot]
    return Stats(as_of, since, [BotStats(each, names.get(each), list(found.get(each, {}).values())) for each in wanted])


def require_bot(connection: Connection, bot: str) -> None:
    """Raise an error unless a bot is registered or `UNASSIGNED`. Without a register, any name passes.

    Raises:
        UnknownBotError: there is no such bot.
        WarehouseError: the server denies the reading.
    """
    with _reading(connection), connection.cursor() as cursor:
        cursor.execute("select to_regclass('trading.bots') is not null")
        if cursor.fetchone() != (True,):
            return
        cursor.execute("select bot_id from trading.bots order by bot_id")
        known = [bot_id for (bot_id,) in cursor.fetchall()]
    if bot not in {*known, UNASSIGNED}:
        raise UnknownBotError(f"{bot} is no bot; there are {', '.join(known)} (dbt_project/seeds/bots.csv)")


@contextmanager
def _reading(connection: Connection) -> Iterator[None]:
    try:
        yield
    except (psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName):
        raise WarehouseError(MISSING) from None
    except psycopg2.Error as error:
        raise WarehouseError(f"cannot read the trades: {complaint(error, connection.dsn)}") from None
