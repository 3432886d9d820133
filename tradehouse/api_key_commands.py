"""The `tradehouse api-keys` commands: print, and exit with codes. No logic."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from extract.settings import load_project, load_settings
from tradehouse.output import PLAIN, err, out, print_json, utc

if TYPE_CHECKING:
    from extract.api_keys import ApiKey

DATES = ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%SZ")


@click.group("api-keys")
def api_keys() -> None:
    """Make, list and revoke keys of the HTTP API.

    Example: tradehouse api-keys add charts --tier PRO
    """


@api_keys.command()
@click.argument("name")
@click.option("--tier", required=True, help="What its holder may see: FREE, PRO or ADMIN (docs/api-keys.md).")
@click.option("--expires", type=click.DateTime(DATES), metavar="DATE", help="When it ends, UTC: 2027-01-31.")
def add(name: str, tier: str, expires: datetime | None) -> None:
    """Make a key for NAME and print it. It cannot be shown again.

    Example: tradehouse api-keys add charts --tier PRO --expires 2027-01-31
    """
    from extract.api_keys import add
    from extract.schema import prepared

    if not name.strip() or not name.isprintable():
        raise click.BadParameter("expected a name for the key, such as charts", param_hint="NAME")
    expires_at = expires and expires.replace(tzinfo=timezone.utc)
    with prepared(load_settings(), load_project(), "api-keys add") as connection:
        key = add(connection, name.strip(), tier, expires_at)
    click.echo(key)
    until = f", until {expires_at:%Y-%m-%d %H:%M} UTC" if expires_at else ""
    err.print(f"{name.strip()}: tier {tier.upper()}{until}. Keep the key: it cannot be shown again.", markup=False)


@api_keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_keys(as_json: bool) -> None:
    """Show the names of all keys, the newest first, with tier and last use. Never a key.

    Example: tradehouse api-keys list
    """
    from extract.api_keys import listed
    from extract.schema import prepared

    with prepared(load_settings(), load_project(), "api-keys list") as connection:
        found = listed(connection)
    if as_json:
        print_json([asdict(each) for each in found])
    elif found:
        out.print(_table(found))
    else:
        out.print("there are no keys: tradehouse api-keys add NAME --tier PRO", markup=False)


@api_keys.command()
@click.argument("name")
def revoke(name: str) -> None:
    """Revoke the key of NAME. The API refuses it within 5 seconds.

    Example: tradehouse api-keys revoke charts
    """
    from extract.api_keys import revoke
    from extract.schema import prepared

    with prepared(load_settings(), load_project(), "api-keys revoke") as connection:
        revoke(connection, name.strip())
    out.print(f"{name.strip()}: revoked", markup=False)


def _table(found: list[ApiKey]) -> Table:
    table = Table(**PLAIN)
    for heading in ("name", "tier", "state", "created (UTC)", "expires (UTC)", "last used (UTC)"):
        table.add_column(heading, no_wrap=True)
    for each in found:
        moments = (each.created_at, each.expires_at, each.last_used_at)
        cells = [f"{utc(moment):%Y-%m-%d %H:%M}" if moment else "never" for moment in moments]
        table.add_row(*map(Text, (each.name, each.tier, each.state, *cells)))
    return table
