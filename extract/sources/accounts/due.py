"""What is due of each account: in which order accounts are polled, and from when on their history is asked for."""

from __future__ import annotations

from datetime import datetime, timezone

from extract.sources.accounts.items import HistoryPart
from extract.sources.accounts.landing_trades import MARKS
from extract.sources.accounts.poll import FIRST_HISTORY, Due
from extract.warehouse import Connection, value


def accounts_in_turn(connection: Connection) -> dict[str, Due]:
    """Active accounts, longest not tried first, each with what is due of its history.

    Something is missing in a history where the trades say so: their positions are gone, or smaller, by volume that no
    row has closed; or deals closed what none has opened. It is also where the balance has changed by more or less than
    the history tells, a deposit that is recorded late for one.
    """
    _note_what_is_explained(connection)
    no_time = "select null::text as account_id, null::timestamptz as since"
    missing = (
        "select trade.account_id, min(case when trade.missing_volume > 0"
        " then least(position.shrunk_after, case when trade.missing_opening > 0 or position.shrunk_after is null"
        " then trade.open_time end) else trade.open_time end) as since"
        " from accounts.trades as trade left join staging.mt5_positions as position"
        " on position.account_id = trade.account_id and position.ticket = trade.ticket"
        " where (trade.missing_volume > 0 or trade.missing_opening > 0"
        f" and trade.open_time > now() - interval '{FIRST_HISTORY.days} days') group by trade.account_id"
        if _has(connection, "trades", "missing_opening")
        else no_time
    )
    # in the first poll of an hour only: what a service has lost would else be asked for every five minutes
    unexplained = (
        f"select account_id, mark.explained_at as since from {MARKS} as mark"
        " join accounts.performance as performance using (account_id)"
        " where performance.opening_balance <> mark.opening_balance"
        " and date_trunc('hour', mark.attempted_at) < date_trunc('hour', %(now)s)"
        if _has(connection, "performance", "opening_balance")
        else no_time
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "select account.id, mark.history_until, least(missing.since, unexplained.since),"
            " mark.history_from, mark.history_to, mark.history_offset"
            " from accounts.registered_accounts as account"
            f" left join {MARKS} as mark on mark.account_id = account.id"
            f" left join ({missing}) as missing on missing.account_id = account.id"
            f" left join ({unexplained}) as unexplained on unexplained.account_id = account.id"
            " where account.is_active order by mark.attempted_at nulls first, account.created_at, account.id",
            {"now": datetime.now(timezone.utc)},
        )
        return {
            account: Due(until, since, HistoryPart(first, last, offset) if offset else None)
            for account, until, since, first, last, offset in cursor.fetchall()
        }


def _note_what_is_explained(connection: Connection) -> None:
    """Store where the history explains the balance that was read last: `performance.opening_balance` is as it was.

    What has not been explained for as long as a history goes back never will be: that opening balance is accepted.
    """
    if not _has(connection, "performance", "opening_balance"):
        return
    with connection.cursor() as cursor:
        cursor.execute(
            f"update {MARKS} as mark"
            " set opening_balance = performance.opening_balance, explained_at = mark.balance_at"
            " from accounts.performance as performance, staging.mt5_account_info as info"
            " where performance.account_id = mark.account_id and info.account_id = mark.account_id"
            # computed with the balance that was read last
            " and performance.balance = (info.payload ->> 'balance')::numeric"
            " and performance.opening_balance = case when mark.explained_at"
            f" > now() - interval '{FIRST_HISTORY.days} days' then mark.opening_balance"
            " else performance.opening_balance end"
            " and mark.explained_at is distinct from mark.balance_at"
        )


def _has(connection: Connection, table: str, column: str) -> bool:
    """Whether a table of marts has a column: not before it was built for the first time."""
    found = value(
        connection,
        "select exists (select from pg_attribute where attrelid = to_regclass('accounts.' || %s) and attname = %s"
        " and not attisdropped)",
        *(table, column),
    )
    return bool(found)
