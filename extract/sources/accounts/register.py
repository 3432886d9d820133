"""The register of MT5 accounts to poll, `accounts.registered_accounts`, and the last result of each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from extract.warehouse import Connection, holding_run_lock, transaction, value


class UnknownClockError(Exception):
    """A broker's clock is no offset and no time zone; the message says so."""


class UnknownAccountError(Exception):
    """The account is not registered; the message says so."""


@dataclass(frozen=True)
class RegisteredAccount:
    """A row of the register, and the newest sync that polled the account.

    Attributes:
        id: its id in the API.
        login_number: its login at the broker.
        broker_name: the broker.
        is_active: whether it is polled.
        created_at: when it was registered.
        last_sync_at: when it was last polled.
        last_status: the result: `success`, `partial` or `failed`.
        last_error: what failed in it.
    """

    id: str
    login_number: int | None
    broker_name: str | None
    is_active: bool
    created_at: datetime
    last_sync_at: datetime | None
    last_status: str | None
    last_error: str | None


def add(
    connection: Connection,
    account: str,
    login_number: int | None,
    broker_name: str | None,
    server_utc_offset: str | None = None,
) -> bool:
    """Register an account, or activate a known one again; return whether it is new.

    A value that is not given stays as it was.

    Raises:
        UnknownClockError: the offset is none, and no time zone either.
    """
    if server_utc_offset and not value(connection, "select staging.is_time_zone(%s)", server_utc_offset):
        raise UnknownClockError(f"{server_utc_offset} is neither an offset such as +02:00 nor a time zone such as EET")
    with connection.cursor() as cursor:
        cursor.execute(
            "insert into accounts.registered_accounts as known (id, login_number, broker_name, server_utc_offset)"
            " values (%s, %s, %s, %s)"
            " on conflict (id) do update set is_active = true,"
            " login_number = coalesce(excluded.login_number, known.login_number),"
            " broker_name = coalesce(excluded.broker_name, known.broker_name),"
            " server_utc_offset = coalesce(excluded.server_utc_offset, known.server_utc_offset)"
            " returning xmax = 0",  # 0 if the row was inserted
            (account, login_number, broker_name, server_utc_offset),
        )
        row = cursor.fetchone()
    return row == (True,)


def deactivate(connection: Connection, account: str) -> None:
    """Stop polling an account; all its data stays.

    Raises:
        UnknownAccountError: it is not registered.
    """
    with connection.cursor() as cursor:
        cursor.execute("update accounts.registered_accounts set is_active = false where id = %s", (account,))
        if cursor.rowcount == 0:
            raise UnknownAccountError(f"{account} is not registered; tradehouse accounts list shows which are")


ERASED = (
    *(f"staging.mt5_{name}" for name in ("account_info", "equity", "positions", "history", "sync_results")),
    "staging.mt5_account_marks",
    *(f"accounts.{name}" for name in ("trading_accounts", "trades", "deals", "balance_operations")),
    *("accounts.performance", "accounts.equity"),
)
"""The tables with rows of an account, beside the register."""


def remove(connection: Connection, account: str) -> int:
    """Erase an account everywhere; return how many rows that were. No run of the accounts goes on meanwhile.

    Raises:
        UnknownAccountError: nothing is known of it.
        LockHeldError: a run of the accounts is at work.
    """
    told = f"account {account}"
    with holding_run_lock(connection, "accounts"), transaction(connection), connection.cursor() as cursor:
        rows = 0
        cursor.execute("select name from unnest(%s) as name where to_regclass(name) is not null", (list(ERASED),))
        for (table,) in cursor.fetchall():
            cursor.execute(f"delete from {table} where account_id = %s", (account,))
            rows += cursor.rowcount
        for statement in (
            "delete from accounts.registered_accounts where id = %(account)s",
            "delete from ops.rejected_rows where source = 'accounts' and entity = %(account)s",
            "delete from ops.alerts where source = 'accounts' and trouble = %(told)s",
        ):
            cursor.execute(statement, {"account": account, "told": told})
            rows += cursor.rowcount
        cursor.execute(
            "update ops.sync_runs set error = 'an account that has been removed since'"
            " where source = 'accounts' and strpos(error, %s) > 0",
            (f"{told}: ",),
        )
    if not rows:
        raise UnknownAccountError(f"{account} is not registered; tradehouse accounts list shows which are")
    return rows


@dataclass(frozen=True)
class StaleAccount:
    """An active account that was not read whole for too long; the times are None if it never was."""

    account_id: str
    login_number: int | None
    broker_name: str | None
    last_sync_at: datetime | None
    last_successful_sync_at: datetime | None
    sync_failure_count: int
    last_connection_error: str | None


def stale(connection: Connection) -> list[StaleAccount]:
    """The stale accounts, by id; none before the first sync."""
    if not value(connection, "select to_regclass('accounts.stale_accounts') is not null"):
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "select account_id, login_number, broker_name, last_sync_at, last_successful_sync_at, sync_failure_count,"
            " last_connection_error from accounts.stale_accounts order by account_id"
        )
        return [StaleAccount(*row) for row in cursor.fetchall()]


def registered(connection: Connection) -> list[RegisteredAccount]:
    """The register, active accounts first."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select
                account.id,
                account.login_number,
                account.broker_name,
                account.is_active,
                account.created_at,
                newest.started_at,
                newest.status,
                newest.error_message
            from accounts.registered_accounts as account
            left join lateral (
                select started_at, status, error_message
                from staging.mt5_sync_results as result
                where result.account_id = account.id and result.status <> 'skipped'
                order by run_id desc
                limit 1
            ) as newest on true
            order by account.is_active desc, account.created_at, account.id
            """
        )
        return [RegisteredAccount(*row) for row in cursor.fetchall()]
