"""The `tradehouse rejects` commands: print, and exit with codes. No logic."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from extract.settings import load_project, load_settings
from tradehouse.output import PLAIN, out, print_json, utc

if TYPE_CHECKING:
    from extract.rejects import OpenReject

LONGEST_CELL = 60
"""Characters of a value in the table; JSON has all of it."""


@click.group()
def rejects() -> None:
    """List and dismiss rejects: values a source sent that could not be landed.

    Example: tradehouse rejects list --source accounts
    """


@rejects.command("list")
@click.option("--source", help="Only of this source, such as mt5, bybit or accounts.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="Rejects to show, newest first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_rejects(source: str | None, limit: int, as_json: bool) -> None:
    """Show the open rejects, the newest first.

    Example: tradehouse rejects list --source mt5 --limit 20
    """
    from extract.rejects import Filter, count_open, newest_open
    from extract.schema import prepared

    which = Filter(source)
    with prepared(load_settings(), load_project(), "rejects list") as connection:
        counts = count_open(connection, which)
        found = newest_open(connection, which, limit)
    if as_json:
        print_json({"open": counts, "rejects": [asdict(each) for each in found]})
        return
    if found:
        out.print(_table(found))
    out.print(_total(counts, len(found)), markup=False)


@rejects.command()
@click.option("--source", required=True, help="The source, such as mt5, bybit or accounts.")
@click.option("--entity", help="Only of this symbol, category or account.")
@click.option("--key", "row_key", help="Only of the row with this key, as `rejects list` shows it.")
@click.option("--column", "column_name", help="Only of this column.")
@click.option("--all", "everything", is_flag=True, help="All rejects of the source; needed without another filter.")
@click.option("--dry-run", is_flag=True, help="Count them; write nothing.")
def dismiss(
    source: str, entity: str | None, row_key: str | None, column_name: str | None, everything: bool, dry_run: bool
) -> None:
    """Close open rejects that need no action.

    A dismissed reject opens again only if the source sends another value. An account with no other rejects counts as
    read in full.

    Example: tradehouse rejects dismiss --source mt5 --entity eurusd --column tema --dry-run
    """
    from extract.rejects import Filter, count_open
    from extract.rejects import dismiss as dismiss_rejects
    from extract.schema import prepared

    if everything == (entity is not None or row_key is not None or column_name is not None):
        raise click.UsageError(
            "give --all or a filter, not both"
            if everything
            else f"this would dismiss every reject of {source}: add --entity, --key or --column, or --all to mean it"
        )
    which = Filter(source, entity, row_key, column_name)
    with prepared(load_settings(), load_project(), "rejects dismiss") as connection:
        count = sum(count_open(connection, which).values()) if dry_run else dismiss_rejects(connection, which)
        others = {} if count else count_open(connection, Filter())
    if dry_run:
        out.print(f"dry run: {count:,} open rejects would be dismissed; nothing was written")
    else:
        out.print(f"{count:,} rejects dismissed")
    if not count:
        out.print(f"no open reject matches. {_total(others, 0)}", markup=False)


def _table(found: list[OpenReject]) -> Table:
    table = Table(**PLAIN)
    for heading in ("found (UTC)", "source", "entity", "key", "column", "reason", "original"):
        table.add_column(heading, no_wrap=True)
    for each in found:
        original = ascii(each.original)[1:-1] if each.original is not None else ""
        cells = (each.source, each.entity, each.row_key, each.column_name, each.reason, original)
        table.add_row(f"{utc(each.extracted_at):%Y-%m-%d %H:%M}", *(Text(_cut(cell)) for cell in cells))
    return table


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_CELL else text[: LONGEST_CELL - 1] + "…"


def _total(counts: dict[str, int], shown: int) -> str:
    total = sum(counts.values())
    if not total:
        return "there are no open rejects"
    by_source = ", ".join(f"{source} {count:,}" for source, count in counts.items())
    more = f"; --limit shows more than {shown:,}" if 0 < shown < total else ""
    return f"open rejects: {by_source}{more}"
