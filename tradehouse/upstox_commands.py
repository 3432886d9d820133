"""The `tradehouse upstox` commands: print, and exit with codes. No logic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from extract.settings import load, load_settings
from extract.sources.upstox.plan import SEGMENTS
from extract.warehouse import open_warehouse
from tradehouse.output import PLAIN, out, print_json, utc
from tradehouse.source_commands import JSON, TEST_EVERY, TESTS, check_source, every_option, serve_source, sync_source

if TYPE_CHECKING:
    from extract.sources.upstox.dry_run import DryRun
    from serve.upstox_status import UpstoxStatus


@click.group()
def upstox() -> None:
    """Keep instruments and candles of the Indian markets current.

    Example: tradehouse upstox sync --segment equity && tradehouse upstox status
    """


@upstox.command("test")
def check() -> None:
    """Ask for a few candles and the calendar, and say what works. Touches no table.

    Example: tradehouse upstox test
    """
    check_source("upstox")


@upstox.command()
@click.option(
    "--segment", "segments", multiple=True, type=click.Choice(SEGMENTS), help="Only this one; may be repeated."
)
@click.option("--force", is_flag=True, help="Read again what is still fresh.")
@click.option("--dry-run", is_flag=True, help="List the requests, and how long they would take; send and write none.")
@TESTS
@JSON
def sync(segments: tuple[str, ...], force: bool, dry_run: bool, tests: bool, as_json: bool) -> None:
    """Read what the warehouse lacks. Progress is kept after each request, so it can be stopped at any time.

    Example: tradehouse upstox sync --segment equity --dry-run
    """
    chosen = segments or SEGMENTS
    if dry_run:
        _print_plan(_plan(chosen, force), as_json=as_json)
        return
    sync_source("upstox", "upstox sync", tests=tests, as_json=as_json, segments=chosen, force=force)


@upstox.command()
@every_option("3600")
@TEST_EVERY
def run(every: int | None, build_every: int) -> None:
    """Sync unattended, on a steady tick, until SIGTERM; what is fresh is left alone.

    Example: tradehouse upstox run --every 3600
    """
    serve_source("upstox", "upstox run", every, build_every)


@upstox.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def status(as_json: bool) -> None:
    """Show what the warehouse has: instruments, candles, the newest one and gaps, by segment, underlying and expiry.

    Example: tradehouse upstox status --json
    """
    from serve.upstox_status import read_status

    with open_warehouse(load_settings()).reading("upstox status") as connection:
        found = read_status(connection, SEGMENTS)
    if as_json:
        print_json(found.as_dict())
    else:
        _print_status(found)


def _plan(segments: tuple[str, ...], force: bool) -> DryRun:
    from extract.sources.upstox.dry_run import dry_run
    from extract.sources.upstox.plan import freshness
    from extract.sources.upstox.settings import UpstoxSettings

    settings = load(UpstoxSettings)
    with open_warehouse(load_settings()).reading("upstox dry run") as connection:
        return dry_run(connection, segments, settings.masters, freshness(settings, force))


def _print_plan(plan: DryRun, *, as_json: bool) -> None:
    if as_json:
        fields = {"requests": plan.requests, "seconds": round(plan.seconds, 1), "is_whole": plan.is_whole}
        print_json({**fields, "calls": [call.description for call in plan.calls]})
        return
    for call in plan.calls:
        out.print(call.description, markup=False)
    rest = "" if plan.is_whole else "; what follows depends on their replies"
    out.print(f"{plan.requests:,} requests, {_duration(plan.seconds)}{rest}", markup=False)


def _print_status(found: UpstoxStatus) -> None:
    table = Table(**PLAIN)
    for heading in ("segment", "underlying", "expiry"):
        table.add_column(heading, no_wrap=True)
    for heading in ("instruments", "without candles", "days", "minutes", "newest (UTC)", "gaps", "asked, empty"):
        table.add_column(heading, justify="right", no_wrap=True)
    for part in found.parts:
        newest = f"{utc(part.newest_candle):%Y-%m-%d %H:%M}" if part.newest_candle else ""
        numbers = (part.instruments, part.without_candles, part.days, part.minutes)
        cells = [part.segment, part.underlying or "", str(part.expiry_date or "")]
        cells += [*(f"{number:,}" for number in numbers), newest, f"{part.gaps:,}", f"{part.settled_gaps:,}"]
        table.add_row(*map(Text, cells))
    out.print(table)
    for segment, at in found.completed.items():
        out.print(f"{segment}: {f'read in full at {utc(at):%Y-%m-%d %H:%M} UTC' if at else 'never read in full'}")
    if found.rejects:
        out.print(f"{found.rejects:,} rejects: select * from ops.rejected_instruments")
    if found.linked:
        out.print(f"{found.linked:,} keys took over another's instrument: market.instrument_keys, linked_from")


def _duration(seconds: float) -> str:
    """A duration in its greatest unit."""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"
