"""The `tradehouse accounts` commands: print, and exit with codes. No logic."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from extract.errors import LockHeldError
from extract.settings import load_project, load_settings
from tradehouse.output import DONE, PARTIAL, PLAIN, err, out, print_outcome, print_warnings, progress, utc

if TYPE_CHECKING:
    from extract.sources.accounts.register import RegisteredAccount
    from extract.sources.accounts.source import AccountsResult


@click.group()
def accounts() -> None:
    """Keep balances, positions and trades of MT5 accounts current.

    Example: tradehouse accounts add 1001 --login 5012345 --broker "Some Broker" && tradehouse accounts sync
    """


@accounts.command()
@click.argument("account")
@click.option("--login", "login_number", type=click.IntRange(1, 2**63 - 1), help="Its login number at the broker.")
@click.option("--broker", "broker_name", help="The broker's name.")
def add(account: str, login_number: int | None, broker_name: str | None) -> None:
    """Register an account by the id the service knows it by, or poll a deactivated one again.

    Example: tradehouse accounts add 1001 --login 5012345 --broker "Some Broker"
    """
    from extract.sources.accounts.register import add, register

    if not account.strip() or not account.isprintable():
        raise click.BadParameter("expected the id of an account", param_hint="ACCOUNT")
    with register(load_settings(), load_project(), "accounts add") as connection:
        is_new = add(connection, account, login_number, broker_name)
    out.print(f"{account}: {'registered' if is_new else 'known already; it is active'}", markup=False)


@accounts.command()
@click.argument("account")
def deactivate(account: str) -> None:
    """Poll an account no longer. What is known of it stays.

    Example: tradehouse accounts deactivate 1001
    """
    from extract.sources.accounts.register import UnknownAccountError, deactivate, register

    with register(load_settings(), load_project(), "accounts deactivate") as connection:
        try:
            deactivate(connection, account)
        except UnknownAccountError as error:
            raise click.BadParameter(str(error), param_hint="ACCOUNT") from None
    out.print(f"{account}: deactivated", markup=False)


@accounts.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_accounts(as_json: bool) -> None:
    """Show which accounts are registered and how each has fared.

    Example: tradehouse accounts list
    """
    from extract.sources.accounts.register import register, registered

    with register(load_settings(), load_project(), "accounts list") as connection:
        found = registered(connection)
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found], default=_iso, indent=2))
    elif found:
        _print_register(found)
    else:
        out.print("no account is registered: tradehouse accounts add ACCOUNT", markup=False)


@accounts.command()
def test() -> None:
    """Ask the service for a sign of life. Touches no table.

    Example: tradehouse accounts test
    """
    from extract.sources.accounts.source import open_service

    http, service = open_service(load_settings())
    with http:
        out.print(f"{http.address} is well; it answered in {service.health():.2f} s", markup=False)


@accounts.command()
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON, and nothing else on stdout.")
@click.option("--scheduled", is_flag=True, help="Log the run as scheduled, not manual: for cron and timers.")
@click.option("--test", "tests", is_flag=True, help="Run every dbt test of the accounts, too.")
def sync(as_json: bool, scheduled: bool, tests: bool) -> None:
    """Poll every active account once and bring its tables up to date.

    Exit code 1 says that some account failed in part or whole, or was skipped; the others are current.

    Example: tradehouse accounts sync --json
    """
    from extract.rest_run import RestSource
    from extract.sources.accounts.landing import SOURCE
    from extract.sources.accounts.source import AccountsResult, sync_accounts

    settings = load_settings()
    settings.require_mt5_service()
    try:
        with progress() as report:
            result = sync_accounts(
                RestSource(settings, load_project(), SOURCE),
                "accounts sync",
                "scheduled" if scheduled else "manual",
                budget=settings.mt5_sync_budget_seconds,
                tests=tests,
                progress=report,
            )
    except LockHeldError as held:
        if as_json:  # whoever reads it gets the summary he is used to
            click.echo(json.dumps({**AccountsResult(None).as_dict(), "message": str(held)}, indent=2))
        raise
    for problem in result.problems:
        err.print(problem, markup=False)
    print_warnings(result.transform)
    if as_json:
        click.echo(json.dumps(result.as_dict(), indent=2))
    else:
        print_outcome(result.ok, result.seconds, _summary(result), result.transform, tests=tests)
    sys.exit(DONE if result.ok else PARTIAL)


@accounts.command()
@click.option("--every", default=300, show_default=True, type=click.IntRange(1), help="Seconds between syncs.")
def run(every: int) -> None:
    """Sync unattended, on a steady tick, until SIGTERM; every dbt test of the accounts runs hourly.

    Example: tradehouse accounts run --every 300
    """
    from extract.rest_run import RestSource
    from extract.sources.accounts.landing import SOURCE
    from extract.sources.accounts.service import AccountsService
    from extract.unattended import serve

    settings = load_settings()
    settings.require_mt5_service()
    source = RestSource(settings, load_project(), SOURCE, unattended=True)
    serve(AccountsService(source=source, every=float(every)), settings.log_level)


def _summary(result: AccountsResult) -> str:
    if not result.accounts:
        return "no account is active (tradehouse accounts add registers one)"
    counts = [f"{result.count(status)} {status}" for status in ("success", "partial", "failed", "skipped")]
    return f"{len(result.accounts)} accounts: {', '.join(counts)}; {result.rows_changed:,} rows changed"


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


def _iso(moment: datetime) -> str:
    return utc(moment).isoformat()
