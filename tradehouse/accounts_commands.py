"""The `tradehouse accounts` commands: print, and exit with codes. No logic."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from extract.settings import load_project, load_settings
from tradehouse.output import DONE, PARTIAL, PLAIN, out, print_json, utc
from tradehouse.source_commands import JSON, TEST_EVERY, TESTS, every_option, json_option, serve_source, sync_source

if TYPE_CHECKING:
    from extract.sources.accounts.register import RegisteredAccount


@click.group()
def accounts() -> None:
    """Keep balances, positions and trades of MT5 accounts current.

    Example: tradehouse accounts add 1001 --login 5012345 --broker "Some Broker" && tradehouse accounts sync
    """


@accounts.command()
@click.argument("account")
@click.option("--login", "login_number", type=click.IntRange(1, 2**63 - 1), help="Its login number at the broker.")
@click.option("--broker", "broker_name", help="The broker's name.")
@click.option(
    "--server-utc-offset",
    help="The broker's clock, such as +02:00 or EET, where the API sends its times as if they were UTC.",
)
def add(account: str, login_number: int | None, broker_name: str | None, server_utc_offset: str | None) -> None:
    """Register an account by its id in the API, or poll a deactivated one again.

    Example: tradehouse accounts add 1001 --login 5012345 --broker "Some Broker"
    """
    from extract.schema import prepared
    from extract.sources.accounts.register import UnknownClockError, add

    if account.strip() in ("", ".", "..") or not account.isprintable():
        raise click.BadParameter("expected the id of an account", param_hint="ACCOUNT")
    with prepared(load_settings(), load_project(), "accounts add") as connection:
        try:
            is_new = add(connection, account, login_number, broker_name, server_utc_offset)
        except UnknownClockError as error:
            raise click.BadParameter(str(error), param_hint="--server-utc-offset") from None
    out.print(f"{account}: {'registered' if is_new else 'known already; it is active'}", markup=False)


@accounts.command()
@click.argument("account")
def deactivate(account: str) -> None:
    """Stop polling an account. Its data stays.

    Example: tradehouse accounts deactivate 1001
    """
    from extract.schema import prepared
    from extract.sources.accounts.register import UnknownAccountError, deactivate

    with prepared(load_settings(), load_project(), "accounts deactivate") as connection:
        try:
            deactivate(connection, account)
        except UnknownAccountError as error:
            raise click.BadParameter(str(error), param_hint="ACCOUNT") from None
    out.print(f"{account}: deactivated", markup=False)


@accounts.command()
@click.argument("account")
def remove(account: str) -> None:
    """Erase an account: from the register, from all tables, from rejects and from what is said of runs.

    Example: tradehouse accounts remove 1001
    """
    from extract.schema import prepared
    from extract.sources.accounts.register import UnknownAccountError, remove

    with prepared(load_settings(), load_project(), "accounts remove") as connection:
        try:
            rows = remove(connection, account)
        except UnknownAccountError as error:
            raise click.BadParameter(str(error), param_hint="ACCOUNT") from None
    out.print(f"{account}: removed, with {rows:,} rows", markup=False)


@accounts.command()
@json_option("Print JSON instead of a table.")
def status(as_json: bool) -> None:
    """Show which active accounts are stale: not read whole for 15 minutes. Exit code 1 if there are any.

    Example: tradehouse accounts status --json
    """
    from extract.schema import prepared
    from extract.sources.accounts.register import stale

    with prepared(load_settings(), load_project(), "accounts status") as connection:
        found = stale(connection)
    if as_json:
        print_json({"ok": not found, "stale": [asdict(each) for each in found]})
    elif found:
        for each in found:
            read = (
                f"last read whole at {utc(each.last_successful_sync_at):%Y-%m-%d %H:%M} UTC"
                if (each.last_successful_sync_at)
                else "never read whole"
            )
            out.print(f"{each.account_id}: {read}; {each.last_connection_error or 'no sync has failed'}", markup=False)
    else:
        out.print("all accounts are current")
    sys.exit(PARTIAL if found else DONE)


@accounts.command("list")
@json_option("Print JSON instead of a table.")
def list_accounts(as_json: bool) -> None:
    """Show the registered accounts and the last result of each.

    Example: tradehouse accounts list
    """
    from extract.schema import prepared
    from extract.sources.accounts.register import registered

    with prepared(load_settings(), load_project(), "accounts list") as connection:
        found = registered(connection)
    if as_json:
        print_json([asdict(each) for each in found])
    elif found:
        _print_register(found)
    else:
        out.print("no account is registered: tradehouse accounts add ACCOUNT", markup=False)


@accounts.command()
@click.argument("account", default="0")
def test(account: str) -> None:
    """Ask the API whether it is well, and whether it accepts the key for an account. Touches no table.

    Without ACCOUNT, an account that does not exist is asked for: that is enough to see whether the key is accepted.

    Example: tradehouse accounts test 1001
    """
    from extract.sources.accounts.source import check_account

    for line in check_account(account, account != "0"):
        out.print(line, markup=False)


@accounts.command()
@JSON
@click.option("--scheduled", is_flag=True, help="Log the run as scheduled, not manual: for cron and timers.")
@TESTS
def sync(as_json: bool, scheduled: bool, tests: bool) -> None:
    """Poll every active account once and bring its tables up to date.

    Exit code 1: some account failed in part or in whole, or was skipped; the others are current.

    Example: tradehouse accounts sync --json
    """
    sync_type = "scheduled" if scheduled else "manual"
    sync_source("accounts", "accounts sync", tests=tests, as_json=as_json, sync_type=sync_type)


@accounts.command()
@every_option("300")
@TEST_EVERY
def run(every: int | None, build_every: int) -> None:
    """Sync unattended, on a steady tick, until SIGTERM; every dbt test of the accounts runs beside the ticks.

    Example: tradehouse accounts run --every 300
    """
    serve_source("accounts", "accounts run", every, build_every, sync_type="scheduled")


def _print_register(found: list[RegisteredAccount]) -> None:
    table = Table(title=f"{sum(each.is_active for each in found)} of {len(found)} accounts are active", **PLAIN)
    for heading in ("account", "login", "broker", "active", "last sync (UTC)", "status", "error"):
        table.add_column(heading, no_wrap=heading != "error")
    for each in found:
        row = (
            each.id,
            str(each.login_number or ""),
            each.broker_name or "",
            "yes" if each.is_active else "no",
            f"{utc(each.last_sync_at):%Y-%m-%d %H:%M:%S}" if each.last_sync_at else "never",
            each.last_status or "",
            each.last_error or "",
        )
        table.add_row(*map(Text, row))
    out.print(table)
