"""The commands of `tradehouse bybit` that show trades, sums and measures: print or write files, no logic."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from extract.settings import load_settings
from extract.warehouse import Connection, open_warehouse
from tradehouse.output import DONE, PARTIAL, PLAIN, err, out, print_json, utc

if TYPE_CHECKING:
    from serve.trading_reports import Rows

BOT = click.option("--bot", metavar="BOT", help="Only this bot.")
FORMAT = click.option(
    "--format",
    "kind",
    default="table",
    show_default=True,
    type=click.Choice(["table", "csv", "json", "parquet"]),
    help="csv, json and parquet are exact; parquet needs --output.",
)
OUTPUT = click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.")
Command = Callable[..., Any]


def _shown(command: Command) -> Command:
    """The options of a command that shows rows."""
    return BOT(FORMAT(OUTPUT(command)))


@click.command()
@_shown
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="How many.")
def trades(bot: str | None, kind: str, output: Path | None, limit: int) -> None:
    """Show the newest trades.

    Example: tradehouse bybit trades --bot lxalgo_001 --limit 1000 --format csv --output trades.csv
    """
    from serve.trading_reports import recent_trades

    _show("trades", bot, kind, output, lambda connection: recent_trades(connection, bot, limit))


@click.command("open")
@_shown
def open_(bot: str | None, kind: str, output: Path | None) -> None:
    """Show what is open, with its profit at the last price that has landed.

    Example: tradehouse bybit open
    """
    from serve.trading_reports import open_lots

    _show("open", bot, kind, output, lambda connection: open_lots(connection, bot))


def _period_command(period: str, words: str) -> click.Command:
    def show(bot: str | None, kind: str, output: Path | None) -> None:
        from serve.trading_reports import by_period

        _show(period, bot, kind, output, lambda connection: by_period(connection, period, bot))

    help_ = f"Show trades, profit, funding and fees {words} (UTC).\n\nExample: tradehouse bybit {period}"
    return click.command(period, help=help_)(_shown(show))


@click.command()
@_shown
@click.option(
    "--by",
    default="bot",
    show_default=True,
    type=click.Choice(["bot", "symbol", "reason", "hour", "weekday"]),
    help="A row per bot, or per group of its trades.",
)
@click.option("--positions", is_flag=True, help="Count positions, from flat to flat, instead of trades; by bot only.")
def performance(bot: str | None, kind: str, output: Path | None, by: str, positions: bool) -> None:
    """Show win rate, profit factor, expectancy, streaks, drawdown, Sharpe and Sortino.

    Example: tradehouse bybit performance --by weekday
    """
    from serve.trading_reports import performance as measured

    if positions and by != "bot":
        raise click.UsageError(f"--positions counts by bot; --by {by} groups trades")
    basis = "positions" if positions else "trades"
    _show("performance", bot, kind, output, lambda connection: measured(connection, bot, by, basis))


@click.command()
@BOT
@click.option("--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The page's file.")
def report(bot: str | None, output: Path) -> None:
    """Write a page with equity, drawdown, months and tables. It is one file and needs no network.

    Example: tradehouse bybit report --output report.html
    """
    from serve.trading_report_page import report_page

    with open_warehouse(load_settings()).reading("bybit report") as connection:
        _require_bot(connection, bot)
        page = report_page(connection, bot)
    _write(output, lambda: output.write_text(page, encoding="utf-8"))
    out.print(f"written: {output}", markup=False)


@click.command()
@FORMAT
@OUTPUT
def status(kind: str, output: Path | None) -> None:
    """Show the newest runs: when, how they ended, what was new.

    Example: tradehouse bybit status
    """
    from serve.trading_reports import runs

    _show("status", None, kind, output, runs)


@click.command()
@click.option("--days", default=30, show_default=True, type=click.IntRange(1, 730), help="How far back, in days (UTC).")
@click.option(
    "--tolerance", default=Decimal("0.01"), show_default=True, type=Decimal, help="Differences up to this do not count."
)
@click.option("--json", "as_json", is_flag=True, help="Print every comparison as JSON.")
def reconcile(days: int, tolerance: Decimal, as_json: bool) -> None:
    """Compare the trades with Bybit's own closed profit, per symbol and day. Exit code 1 where they differ.

    Bybit takes the average entry price, the trades the first entry: days can differ while a position is closed in
    parts, and agree in sum once it is flat. Spot and options have no closed profit at Bybit.

    Example: tradehouse bybit reconcile --days 7
    """
    from extract.settings import load
    from extract.sources.bybit.reconcile import Comparison, compare
    from extract.sources.bybit.settings import BybitSettings
    from extract.sources.bybit.source import open_bybit
    from serve.trading_reports import Rows
    from serve.trading_stats import reading_trades

    now = datetime.now(timezone.utc)
    since = datetime(now.year, now.month, now.day, tzinfo=timezone.utc) - timedelta(days=days)
    settings = load(BybitSettings)
    found: list[Comparison] = []
    with open_warehouse(load_settings()).reading("bybit reconcile") as connection, reading_trades(connection):
        for account in settings.require_accounts():
            http, client = open_bybit(settings, account)
            with http:
                found += compare(connection, client, settings.categories, since, now)
    differing = [each for each in found if abs(each.difference) > tolerance]
    columns = ["account_uid", "category", "symbol", "day", "ours", "bybits", "difference"]
    if as_json:
        print_json([{name: getattr(each, name) for name in columns} for each in found])
    else:
        if differing:
            print_rows(Rows(columns, [tuple(getattr(each, name) for name in columns) for each in differing]))
        out.print(f"{len(found) - len(differing)} of {len(found)} symbols and days agree with Bybit", markup=False)
    sys.exit(PARTIAL if differing else DONE)


COMMANDS = [
    trades,
    open_,
    _period_command("daily", "per day"),
    _period_command("weekly", "per week, from Monday"),
    _period_command("monthly", "per month"),
    performance,
    report,
    status,
    reconcile,
]


def _show(purpose: str, bot: str | None, kind: str, output: Path | None, read: Callable[[Connection], Rows]) -> None:
    """Read rows, and print or write them."""
    from serve.rows_files import write_csv, write_json, write_parquet

    if kind == "parquet" and output is None:
        raise click.UsageError("--format parquet needs --output FILE")
    if kind == "table" and output is not None:
        raise click.UsageError("--output needs --format csv, json or parquet")
    with open_warehouse(load_settings()).reading(f"bybit {purpose}") as connection:
        _require_bot(connection, bot)
        found = read(connection)
    if kind == "table":
        print_rows(found)
    elif kind == "parquet" and output is not None:
        _write(output, lambda: write_parquet(found.columns, found.rows, output))
    else:
        write = write_csv if kind == "csv" else write_json
        if output is None:
            write(found.columns, found.rows, sys.stdout)
        else:
            with_text = output

            def write_file() -> None:
                with with_text.open("w", encoding="utf-8", newline="") as file:
                    write(found.columns, found.rows, file)

            _write(output, write_file)


def _write(path: Path, write: Callable[[], object]) -> None:
    try:
        write()
    except OSError as error:
        raise click.BadParameter(f"{path}: {error.strerror}", param_hint="--output") from None


def _require_bot(connection: Connection, bot: str | None) -> None:
    from serve.trading_stats import UnknownBotError, require_bot

    try:
        if bot is not None:
            require_bot(connection, bot)
    except UnknownBotError as error:
        raise click.BadParameter(str(error), param_hint="--bot") from None


def print_rows(found: Rows) -> None:
    """Print rows as a table, amounts rounded for reading."""
    if not found.rows:
        err.print("none", markup=False)
        return
    table = Table(**PLAIN)
    for place, name in enumerate(found.columns):
        words = all(isinstance(row[place], str) for row in found.rows)
        table.add_column(name.replace("_", " "), justify="left" if words else "right", no_wrap=True)
    for row in found.rows:
        table.add_row(*(Text(_text(value)) for value in row))
    print_wide(table)


def print_wide(table: Table) -> None:
    """Print a table as wide as its content: lines that a terminal has to break are better than amounts cut short."""
    width = Measurement.get(out, out.options.update(max_width=10_000), table).maximum
    Console(highlight=False, soft_wrap=True, width=max(width, out.width)).print(table)


def _text(value: Any) -> str:
    from serve.trading_report_page import amount

    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{utc(value):%Y-%m-%d %H:%M:%S}"
    return amount(value) if isinstance(value, Decimal) else str(value)
