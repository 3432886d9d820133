"""What each bot earns, by exit reason: statistics of the completed trades."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg2
import psycopg2.extensions

from extract.errors import WarehouseError
from extract.warehouse import Connection, complaint

UNASSIGNED = "unassigned"
"""The bot name of trades for which no bot can be found."""
MISSING = "there are no trades yet: run tradehouse bybit backfill"


@dataclass(frozen=True)
class Measures:
    """Measures of some trades. PnL is net of fees; all amounts are in the currency of the market."""

    trades: int
    win_rate_pct: Decimal
    net_pnl: Decimal
    fees: Decimal
    average_holding_seconds: Decimal


@dataclass(frozen=True)
class MarketStats:
    """A bot's trades in one market, whose amounts are of one currency; `total_pnl` is with funding."""

    market: str
    total: Measures
    funding_pnl: Decimal
    total_pnl: Decimal
    by_exit_reason: dict[str, Measures]


@dataclass(frozen=True)
class BotStats:
    """A bot and its trades by market; empty if it has not completed any."""

    bot_id: str
    bot_name: str | None
    markets: list[MarketStats] = field(default_factory=list)


@dataclass(frozen=True)
class Quality:
    """What of all executions is in no trade, and how far the fills agree with Bybit (see trading.data_quality)."""

    unmatched_executions: int
    rejected_executions: int
    fills_compared: int
    fills_differing: int
    unpriced_fees: dict[str, Decimal]

    @property
    def lines(self) -> list[str]:
        """What a trader has to know about the figures; empty if nothing is left out."""
        lines = [f"fees of {fees.normalize():f} {currency} not in PnL" for currency, fees in self.unpriced_fees.items()]
        if self.unmatched_executions:
            lines.append(f"{self.unmatched_executions:,} executions unmatched: trading.unmatched_executions")
        if self.rejected_executions:
            lines.append(f"{self.rejected_executions:,} executions rejected: ops.rejected_executions")
        if self.fills_compared:
            agreeing = self.fills_compared - self.fills_differing
            lines.append(f"{agreeing:,} of {self.fills_compared:,} fills close what Bybit says they close")
        return lines


@dataclass(frozen=True)
class Stats:
    """Everything `tradehouse bybit stats` shows; `since` is the earliest exit that counts, None for all."""

    as_of: datetime
    since: datetime | None
    bots: list[BotStats]
    quality: Quality

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
    with reading_trades(connection), connection.cursor() as cursor:
        cursor.execute("select now(), now() - make_interval(days => %s)", (days,))
        as_of, since = cursor.fetchone() or (None, None)
        cursor.execute("select bot_id, bot_name from trading.bots order by bot_id")
        names = dict(cursor.fetchall())
        cursor.execute(
            "select bot_id, market, total_trades, coalesce(win_rate_pct, 0), net_pnl, total_fees,"
            " coalesce(average_holding_seconds, 0), funding_pnl, total_pnl from trading.get_trading_summary(%s, %s)",
            (bot, days),
        )
        found: dict[str, dict[str, MarketStats]] = {}
        for bot_id, market, *measures, funding, total in cursor.fetchall():
            found.setdefault(bot_id, {})[market] = MarketStats(market, Measures(*measures), funding, total, {})
        cursor.execute(
            "select bot_id, market, exit_reason, total_trades, win_rate_pct, net_pnl, total_fees,"
            " average_holding_seconds from trading.get_exit_reason_breakdown(%s, %s)",
            (bot, days),
        )
        for bot_id, market, reason, *measures in cursor.fetchall():
            found[bot_id][market].by_exit_reason[reason] = Measures(*measures)
        quality = _quality(cursor)
    wanted = sorted(names.keys() | found.keys())
    if bot is not None:
        require_bot(connection, bot)
        wanted = [bot]
    bots = [BotStats(each, names.get(each), list(found.get(each, {}).values())) for each in wanted]
    return Stats(as_of, since, bots, quality)


def _quality(cursor: psycopg2.extensions.cursor) -> Quality:
    cursor.execute("select fee_currency, sum(fees) from trading.unpriced_fees group by 1 order by 1")
    unpriced = dict(cursor.fetchall())
    cursor.execute(
        "select unmatched_executions, rejected_executions, fills_compared, fills_differing from trading.data_quality"
    )
    unmatched, rejected, compared, differing = cursor.fetchone() or (0, 0, 0, 0)
    return Quality(unmatched, rejected, compared, differing, unpriced)


def require_bot(connection: Connection, bot: str) -> None:
    """Raise an error unless a bot is registered or `UNASSIGNED`. Without a register, any name passes.

    Raises:
        UnknownBotError: there is no such bot.
        WarehouseError: the server denies the reading.
    """
    with reading_trades(connection), connection.cursor() as cursor:
        cursor.execute("select to_regclass('trading.bots') is not null")
        if cursor.fetchone() != (True,):
            return
        cursor.execute("select bot_id from trading.bots order by bot_id")
        known = [bot_id for (bot_id,) in cursor.fetchall()]
    if bot not in {*known, UNASSIGNED}:
        raise UnknownBotError(f"{bot} is no bot; there are {', '.join(known)} (trading.bots)")


@contextmanager
def reading_trades(connection: Connection) -> Iterator[None]:
    """Turn the server's errors inside the block into one line that says what to do."""
    try:
        yield
    except (psycopg2.errors.UndefinedTable, psycopg2.errors.UndefinedFunction, psycopg2.errors.InvalidSchemaName):
        raise WarehouseError(MISSING) from None
    except psycopg2.Error as error:
        raise WarehouseError(f"cannot read the trades: {complaint(error, connection.dsn)}") from None
