"""The `tradehouse bybit` commands: print, and exit with codes. No logic."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from extract.settings import load_settings
from extract.warehouse import open_warehouse
from tradehouse.bybit_report_commands import COMMANDS, print_wide
from tradehouse.output import PLAIN, out, print_json, utc
from tradehouse.source_commands import JSON, TEST_EVERY, TESTS, check_source, every_option, serve_source, sync_source

if TYPE_CHECKING:
    from serve.trading_stats import BotStats, Measures, Stats

DAYS_A_MONTH = 30.44
BOT = click.option("--bot", metavar="BOT", help="Report only this bot's trades; executions are read for all bots.")


@click.group()
def bybit() -> None:
    """Land the executions of a Bybit account and match them into completed trades.

    Example: tradehouse bybit backfill --months 3 && tradehouse bybit stats
    """


@bybit.command("test")
def check() -> None:
    """Send one signed request per account and category, reach the warehouse, and say what works. Touches no table.

    Example: tradehouse bybit test
    """
    check_source("bybit")


@bybit.command()
@click.option(
    "--months", default=3, show_default=True, type=click.IntRange(1, 24), help="How far back; Bybit keeps 24 months."
)
@BOT
@TESTS
@JSON
def backfill(months: int, bot: str | None, tests: bool, as_json: bool) -> None:
    """Read past executions, oldest week first. A second start continues after the last week that has landed.

    Example: tradehouse bybit backfill --months 3
    """
    since = datetime.now(timezone.utc) - timedelta(days=months * DAYS_A_MONTH)
    _require_bot(bot)
    sync_source("bybit", "bybit backfill", tests=tests, as_json=as_json, since=since, bot=bot)


@bybit.command()
@BOT
@TESTS
@JSON
def sync(bot: str | None, tests: bool, as_json: bool) -> None:
    """Read what is new since the last run, and BYBIT_OVERLAP_HOURS before it again.

    Example: tradehouse bybit sync --bot shortseller_001
    """
    _require_bot(bot)
    sync_source("bybit", "bybit sync", tests=tests, as_json=as_json, bot=bot)


@bybit.command()
@every_option("3600")
@TEST_EVERY
def run(every: int | None, build_every: int) -> None:
    """Sync unattended, on a steady tick, until SIGTERM; every dbt test of the trades runs beside the ticks.

    An account of which nothing has been read yet begins with BYBIT_BACKFILL_MONTHS.

    Example: tradehouse bybit run --every 3600
    """
    serve_source("bybit", "bybit run", every, build_every, begins=True)


@bybit.command()
@click.option("--bot", metavar="BOT", help="Only this bot.")
@click.option("--days", type=click.IntRange(1, 36_500), help="Only trades that ended so many days ago or less.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def stats(bot: str | None, days: int | None, as_json: bool) -> None:
    """Show what each bot earns, by exit reason: trades, win rate, PnL net of fees, holding time.

    Example: tradehouse bybit stats --days 30
    """
    from serve.trading_stats import UnknownBotError, read_stats

    try:
        with open_warehouse(load_settings()).reading("bybit stats") as connection:
            found = read_stats(connection, bot, days)
    except UnknownBotError as error:
        raise click.BadParameter(str(error), param_hint="--bot") from None
    if as_json:
        print_json(found.as_dict())
    else:
        _print_stats(found)


for command in COMMANDS:
    bybit.add_command(command)


def _require_bot(bot: str | None) -> None:
    """Stop with an error if there is no such bot, before anything is read."""
    if bot is None:
        return
    from serve.trading_stats import UnknownBotError, require_bot

    with open_warehouse(load_settings()).reading("bybit") as connection:
        try:
            require_bot(connection, bot)
        except UnknownBotError as error:
            raise click.BadParameter(str(error), param_hint="--bot") from None


def _print_stats(found: Stats) -> None:
    span = "all trades" if found.since is None else f"trades that ended since {utc(found.since):%Y-%m-%d %H:%M} UTC"
    table = Table(title=f"{span}; PnL net of fees, in the market's currency", **PLAIN)
    for heading in ("bot", "market", "exit"):
        table.add_column(heading, no_wrap=True)
    for heading in ("trades", "won", "PnL", "fees", "held", "funding", "total"):
        table.add_column(heading, justify="right", no_wrap=True)
    for bot in found.bots:
        for row in _rows(bot):
            table.add_row(*map(Text, row))
    print_wide(table)
    for line in found.quality.lines:
        out.print(line, markup=False)


def _rows(bot: BotStats) -> list[tuple[str, ...]]:
    """A line per market, then one per exit reason there; the name only once."""
    rows = []
    for market in bot.markets:
        amounts = (_amount(market.funding_pnl), _amount(market.total_pnl))
        rows.append(("", market.market, "all", *_cells(market.total), *amounts))
        rows += [("", "", reason, *_cells(measures), "", "") for reason, measures in market.by_exit_reason.items()]
    if not rows:
        return [(bot.bot_id, "", "", "0", "", "", "", "", "", "")]
    return [(bot.bot_id, *rows[0][1:]), *rows[1:]]


def _cells(measures: Measures) -> tuple[str, ...]:
    return (
        f"{measures.trades:,}",
        f"{measures.win_rate_pct:.1f}%",
        _amount(measures.net_pnl),
        _amount(measures.fees),
        _duration(float(measures.average_holding_seconds)),
    )


def _amount(value: Decimal) -> str:
    """Two decimals, or up to eight for an amount below 0.01, such as one in a coin."""
    return f"{value:,.2f}" if abs(value) >= Decimal("0.01") or value == 0 else f"{value:.8f}".rstrip("0")


def _duration(seconds: float) -> str:
    """A duration in its two greatest units."""
    for (unit, length), (smaller, part) in (
        (("d", 86_400), ("h", 3_600)),
        (("h", 3_600), ("m", 60)),
        (("m", 60), ("s", 1)),
    ):
        if seconds >= length:
            return f"{int(seconds // length)}{unit} {int(seconds % length // part)}{smaller}"
    return f"{seconds:.1f}s"
