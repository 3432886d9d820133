"""The commands of the candles: `sync`, `run` and `reconcile` at the root, and the group `mt5`."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich import box
from rich.table import Table

from extract.errors import SettingsError
from extract.settings import SQL, load_project
from tradehouse.output import DONE, PARTIAL, err, out, progress
from tradehouse.source_commands import (
    JSON,
    TEST_EVERY,
    TESTS,
    check_source,
    every_option,
    open_runner,
    serve_source,
    sync_source,
)

if TYPE_CHECKING:
    from extract.sources.mt5.reconcile import Reconciliation


@click.group()
def mt5() -> None:
    """Candles: the SQLite file of a MetaTrader 5 collector.

    Example: tradehouse mt5 test
    """


@mt5.command()
def test() -> None:
    """Open the SQLite file and say which symbols it has. Touches no table.

    Example: tradehouse mt5 test
    """
    check_source("mt5")


@click.command()
@TESTS
@JSON
def sync(tests: bool, as_json: bool) -> None:
    """Run once: SQLite file to staging, staging to the candle tables.

    Example: SQLITE_PATH=trading_data.db tradehouse sync --test
    """
    sync_source("mt5", "sync", tests=tests, as_json=as_json)


@click.command()
@every_option("SYNC_INTERVAL_SECONDS, 30")
@TEST_EVERY
@click.option(
    "--reconcile-every",
    default=24,
    show_default=True,
    type=click.IntRange(1),
    help="Hours between reconciliations of the whole file.",
)
def run(every: int | None, build_every: int, reconcile_every: int) -> None:
    """Run unattended, on a steady tick, until SIGTERM.

    A tick lands new bars and refreshes their tables. Everything is built when the project's files change. Every test
    runs at the start and every --build-every minutes, beside the ticks. The whole file is reconciled daily. Each
    problem is logged once when it starts and once when it ends.

    Example: tradehouse run --every 30
    """
    from extract.sources.mt5.reconcile import reconciliation_chore

    serve_source("mt5", "run", every, build_every, [reconciliation_chore(reconcile_every * 3600.0)])


@click.command()
@click.option("--symbol", "names", multiple=True, metavar="SYMBOL", help="Only this symbol; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Compare and report; write nothing.")
def reconcile(names: tuple[str, ...], dry_run: bool) -> None:
    """Compare the whole SQLite file with staging, and staging with the tables; repair what differs.

    A run reads back LOOKBACK_MINUTES only. This command finds older changes, of any age, and tables that somebody has
    edited. It takes some seconds per 100,000 bars; `tradehouse run` does it daily.

    Example: tradehouse reconcile --symbol EURUSD --dry-run
    """
    from extract.sources.mt5.reconcile import reconcile as reconcile_symbols

    project = load_project()
    symbols = [name.lower() for name in names] or list(project.symbols)
    unknown = [name for name in names if name.lower() not in project.symbols]
    if unknown:
        raise click.BadParameter(
            f"{', '.join(unknown)} is not configured; there are {', '.join(project.symbols).upper()}",
            param_hint="--symbol",
        )
    with open_runner("mt5") as runner, progress() as report:
        err.print(f"warehouse: {runner.warehouse.description}", markup=False)
        result = reconcile_symbols(runner, symbols, dry_run=dry_run, progress=report)
    _print_reconciliation(result)
    sys.exit(DONE if result.ok else PARTIAL)


@click.command("demo-data")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--days", default=40, show_default=True, type=click.IntRange(1, 3650), help="Days back from now.")
@click.option("--seed", default=7, show_default=True, help="Random seed; the same seed gives the same prices.")
@click.option("--around-the-clock", is_flag=True, help="No weekends: 288 bars a day for every symbol.")
@click.option("--keep", is_flag=True, help="Leave an existing file as it is and succeed.")
def demo_data(path: Path, days: int, seed: int, around_the_clock: bool, keep: bool) -> None:
    """Write an SQLite file as the MetaTrader 5 collector would, defects included.

    Example: tradehouse demo-data sample.db --days 40
    """
    from collector.simulator import write_demo_data

    if path.exists():
        if keep:
            out.print(f"{path} is there already; left as it is", markup=False)
            return
        raise SettingsError(f"{path} exists; remove it, name another file, or pass --keep")
    project = load_project()
    path.parent.mkdir(parents=True, exist_ok=True)
    with progress() as report:
        summary = write_demo_data(
            path,
            symbols=[symbol.upper() for symbol in project.symbols],
            days=days,
            end=datetime.now(timezone.utc),
            seed=seed,
            market_hours=not around_the_clock,
            around_the_clock=[symbol.upper() for symbol in project.around_the_clock],
            schema_sql=SQL / "sqlite_schema.sql",
            progress=lambda _, finished, total: report("writing symbols", finished, total),
        )
    out.print(
        f"{path}: {summary.rows:,} bars of {summary.symbols} symbols, {summary.forming_bars} of them forming; with "
        f"{summary.empty_values:,} EMPTY_VALUEs, {summary.dropped_brackets:,} dropped brackets and "
        f"{summary.cut_off_values:,} JSON values cut off in the middle, as a collector writes them. "
        "Those become NULL in the tables, and `tradehouse query @rejected` lists them",
        markup=False,
    )


def _print_reconciliation(result: Reconciliation) -> None:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("symbol")
    for heading in ("bars in file", "new", "changed", "not in file", "candles off"):
        table.add_column(heading, justify="right")
    for each in result.symbols:
        counts = (each.read, each.new, each.changed, each.gone, each.candles)
        table.add_row(each.symbol.upper(), *(f"{count:,}" for count in counts))
    out.print(table)
    for problem in result.problems:
        err.print(problem, markup=False)
    out.print(result.summary)


mt5.add_command(sync)
mt5.add_command(run)
mt5.add_command(reconcile)
