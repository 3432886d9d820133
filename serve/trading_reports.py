"""The lists and sums of `tradehouse bybit`: rows of the marts, exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from extract.warehouse import Connection
from serve.trading_stats import reading_trades

PERIODS = {"daily": "day", "weekly": "week", "monthly": "month"}
GROUPS = {
    "symbol": "symbol",
    "reason": "exit_reason",
    "hour": "extract(hour from exit_time at time zone 'UTC')::integer",
    "weekday": "to_char(exit_time at time zone 'UTC', 'ID Dy')",
}
"""What trades can be grouped by, besides the bot, and its SQL. Hours and weekdays are those of the exit, UTC."""

# The market of a trade is named by the mart of positions and by the summary; a trade has it by its symbol.
_MARKETS = "(select distinct category, symbol, market from trading.exit_reason_breakdown) as markets"


@dataclass(frozen=True)
class Rows:
    """The rows of a query, with the names of their columns."""

    columns: list[str]
    rows: list[tuple[Any, ...]]

    def as_dicts(self) -> list[dict[str, Any]]:
        """Each row by its columns' names."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def recent_trades(connection: Connection, bot: str | None, limit: int) -> Rows:
    """The newest trades."""
    return _read(connection, "select * from trading.get_recent_trades(%s, %s)", (bot, limit))


def open_lots(connection: Connection, bot: str | None) -> Rows:
    """What is open, with its profit at the last price that has landed."""
    return _read(
        connection,
        "select bot_id, account_uid, category, symbol, position_side, entry_time, open_qty, price, last_price,"
        " unrealised_pnl, entry_reason, exec_id from trading.open_lots"
        " where %(bot)s is null or bot_id = %(bot)s order by bot_id, symbol, entry_time, exec_id",
        {"bot": bot},
    )


def by_period(connection: Connection, period: str, bot: str | None) -> Rows:
    """Sums per day, week (from Monday) or month of exit; `period` is one of PERIODS."""
    return _read(
        connection,
        f"select date_trunc('{PERIODS[period]}', exit_date)::date as {PERIODS[period]}, bot_id, market,"
        " sum(total_trades)::bigint as trades, sum(winning_trades)::bigint as won, sum(net_pnl) as net_pnl,"
        " sum(funding_pnl) as funding_pnl, sum(total_pnl) as total_pnl, sum(total_fees) as fees"
        " from trading.completed_trades_summary where %(bot)s is null or bot_id = %(bot)s"
        " group by 1, 2, 3 order by 1, 2, 3",
        {"bot": bot},
    )


def performance(connection: Connection, bot: str | None, by: str, basis: str) -> Rows:
    """Measures per bot and market, or per group of trades.

    Args:
        connection: in one transaction.
        bot: only this one.
        by: `bot`, or one of GROUPS.
        basis: `trades` or `positions`; groups are always of trades.
    """
    if by == "bot":
        return _read(
            connection,
            "select bot_id, account_uid, market, total_trades as trades, win_rate_pct, net_pnl, total_fees,"
            " round(profit_factor, 6) as profit_factor, expectancy, average_win, average_loss, best, worst,"
            " longest_winning_streak, longest_losing_streak, max_drawdown, sharpe, sortino, exposure_pct"
            " from trading.performance where basis = %(basis)s and (%(bot)s is null or bot_id = %(bot)s)"
            " order by bot_id, account_uid, market",
            {"bot": bot, "basis": basis},
        )
    return _read(
        connection,
        f"select {GROUPS[by]} as {by}, bot_id, market, count(*) as trades,"
        " round(100.0 * count(*) filter (where net_pnl > 0) / count(*), 2) as win_rate_pct, sum(net_pnl) as net_pnl,"
        " sum(total_commission) as total_fees, avg(net_pnl) as expectancy,"
        " avg(net_pnl) filter (where net_pnl > 0) as average_win,"
        " avg(net_pnl) filter (where net_pnl < 0) as average_loss, max(net_pnl) as best, min(net_pnl) as worst"
        f" from trading.completed_trades join {_MARKETS} using (category, symbol)"
        " where kind = 'trade' and (%(bot)s is null or bot_id = %(bot)s) group by 1, 2, 3 order by 1, 2, 3",
        {"bot": bot},
    )


def runs(connection: Connection, limit: int = 10) -> Rows:
    """The newest runs."""
    return _read(
        connection,
        "select sync_started_at, sync_type, status, bot_id, executions_synced, trades_synced, duration_seconds,"
        " error_message from trading.sync_status order by run_id desc limit %s",
        (limit,),
    )


def equity(connection: Connection, bot: str | None) -> Rows:
    """Cumulative net profit and drawdown per bot, account and market, by closing time."""
    return _read(
        connection,
        "select bot_id, account_uid, market, exit_time, cumulative_pnl, drawdown from trading.equity"
        " where %(bot)s is null or bot_id = %(bot)s order by bot_id, account_uid, market, exit_time",
        {"bot": bot},
    )


def _read(connection: Connection, sql: str, values: Sequence[Any] | Mapping[str, Any]) -> Rows:
    """The rows of a query.

    Raises:
        WarehouseError: there are no trades yet, or the server denies the reading.
    """
    with reading_trades(connection), connection.cursor() as cursor:
        cursor.execute(sql, values)
        return Rows([column.name for column in cursor.description or ()], list(cursor.fetchall()))
