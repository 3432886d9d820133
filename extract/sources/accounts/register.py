"""The register of MT5 accounts to poll, `accounts.registered_accounts`, and the last result of each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from extract.warehouse import Connection


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


def add(connection: Connection, account: str, login_number: int | None, broker_name: str | None) -> bool:
    """Register an account, or activate a known one again; return whether it is new.

    A value that is not given stays as it was.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "insert into accounts.registered_accounts as known (id, login_number, broker_name) values (%s, %s, %s)"
            " on conflict (id) do update set is_active = true,"
            " login_number = coalesce(excluded.login_number, known.login_number),"
            " broker_name = coalesce(excluded.broker_name, known.broker_name)"
            " returning xmax = 0",  # 0 if the row was inserted
            (account, login_number, broker_name),
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
