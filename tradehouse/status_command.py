"""The `status` command: prints what `serve.status` found."""

from __future__ import annotations

import sys
from datetime import datetime

import click
from rich.table import Table
from rich.text import Text

from extract.settings import Project, load_project, load_settings
from extract.warehouse import Warehouse, open_warehouse, redacted
from serve.states import Problem, RunState, Status, SymbolState, TableState
from serve.status import read_status
from tradehouse.output import DONE, PARTIAL, PLAIN, out, print_json, utc
from tradehouse.registry import SOURCES

NAMES_SHOWN, PROBLEMS_SHOWN, TEXT_WIDTH = 5, 12, 200


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option(
    "--grace",
    type=click.IntRange(0),
    help="Minutes a bar may be late; give twice the interval between runs where that is more.  [default: 5]",
)
@click.option("--source", type=click.Choice([*SOURCES]), help="Look at this source alone, as its health check.")
def status(as_json: bool, grace: int | None, source: str | None) -> None:
    """Show whether every source and every candle table is current, what is wrong if not, and the last runs.

    A source is not current if its last run failed or left something out, or if its service has stopped. A table is
    current if it has the newest bar of its timeframe that was due while the market was open. Exit codes: 0 all is
    current, 1 something is stale or broken, 2 the warehouse could not be read.

    Example: tradehouse status --source bybit --json
    """
    settings, project = load_settings(), load_project()
    warehouse = open_warehouse(settings)
    with warehouse.reading("status") as connection:
        state = read_status(connection, project, project.grace_minutes if grace is None else grace, source)
    if as_json:
        print_json(state.as_dict())
    else:
        _print_status(state, project, warehouse, source)
    sys.exit(DONE if state.ok else PARTIAL)


def _print_status(state: Status, project: Project, target: Warehouse, source: str | None) -> None:
    """Tables for people, in 80 columns. A character marks all that colour marks."""
    if state.has_candles:
        out.print(_candle_table(state, project))
        out.print()
    if state.sources:
        out.print(_source_table(state))
        out.print()
    if state.runs:
        out.print(_run_table(state.runs))
        out.print()
    errors: dict[str, list[str]] = {}
    for run in state.runs:
        if run.error:
            errors.setdefault(run.error, []).append(str(run.run_id))
    for error, run_ids in errors.items():
        out.print(Problem((f"run {', '.join(run_ids)}:",), error).line(width=TEXT_WIDTH), markup=False)
    out.print(f"warehouse: {redacted(target.uri)}", markup=False)
    if state.ok:
        if state.sources:
            out.print("all sources are current" if source is None else f"the source {source} is current")
        if state.has_candles:
            out.print(f"all {len(state.tables)} tables are current")
    for problem in state.problems[:PROBLEMS_SHOWN]:
        out.print(f"! {problem.line(NAMES_SHOWN, TEXT_WIDTH)}", style="red", markup=False)
    if len(state.problems) > PROBLEMS_SHOWN:
        out.print(f"! and {len(state.problems) - PROBLEMS_SHOWN} more; --json has all", style="red", markup=False)


def _candle_table(state: Status, project: Project) -> Table:
    table = Table(title="Newest bar per table (UTC) and row count; `!` = behind", **PLAIN)
    table.add_column("symbol\nrejects", no_wrap=True)
    for heading in ("source", *project.timeframes):
        table.add_column(heading, justify="right", no_wrap=True)
    for symbol in state.symbols:
        cells = [_table_cell(each, state.as_of) for each in state.tables if each.symbol == symbol.symbol]
        table.add_row(f"{symbol.symbol.upper()}\n{_rejects(symbol)}", _source_cell(symbol, state.as_of), *cells)
    return table


def _source_table(state: Status) -> Table:
    table = Table(title="Sources (UTC); `!` = not current", **PLAIN)
    for heading in ("source", "verdict", "last run ended", "last without a fault", "next run due"):
        table.add_column(heading, no_wrap=True)
    for source in state.sources:
        moments = (source.last_ended_at, source.last_success_at, source.due_again_at)
        table.add_row(
            source.source,
            source.verdict + "!" * (not source.ok),
            *("-" if moment is None else f"{utc(moment):%Y-%m-%d %H:%M}" for moment in moments),
            style="" if source.ok else "red",
        )
    return table


def _table_cell(table: TableState, as_of: datetime) -> Text:
    """The newest bar above the row count; a table that is not current also gets a mark and its lag."""
    lines = [_moment(table.newest, as_of), "-" if table.rows is None else _count(table.rows)]
    if not table.ok:
        lines[0] += "!"
        lines += [] if table.lag_seconds is None else [f"+{_short(table.lag_seconds)}"]
    return Text("\n".join(lines), style="" if table.ok else "red")


def _source_cell(symbol: SymbolState, as_of: datetime) -> str:
    newest = _moment(symbol.source_newest, as_of)
    return newest if symbol.status == "ok" else f"{newest}\n{symbol.status or '-'}"


def _rejects(symbol: SymbolState) -> str:
    return "-" if symbol.rejects is None else _count(symbol.rejects)


def _run_table(runs: list[RunState]) -> Table:
    table = Table(title="Last runs of the candles", **PLAIN)
    for heading in ("run", "started (UTC)", "command", "status"):
        table.add_column(heading, no_wrap=True)
    for heading in ("sec", "read", "changed", "rejects", "models"):
        table.add_column(heading, justify="right", no_wrap=True)
    for run in runs:
        table.add_row(
            str(run.run_id),
            f"{utc(run.started_at):%m-%d %H:%M:%S}",
            run.command,
            run.status,
            "-" if run.seconds is None else f"{run.seconds:.1f}",
            *map(_count, (run.rows_read, run.rows_changed, run.rows_rejected, run.models_built)),
        )
    return table


def _count(number: int) -> str:
    """A number in at most six characters: more do not fit with nine timeframes in 80 columns."""
    return f"{number:,}" if number < 100_000 else f"{number / 1000:.0f}k"


def _moment(moment: datetime | None, as_of: datetime) -> str:
    """The time of day, or the date if it is not today."""
    if moment is None:
        return "-"
    same_day = utc(moment).date() == utc(as_of).date()
    return f"{utc(moment):%H:%M}" if same_day else f"{utc(moment):%m-%d}"


def _short(seconds: float) -> str:
    """A duration in its largest fitting unit, such as 45m or 3h."""
    for unit, length in (("d", 86_400), ("h", 3_600)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds / 60:.0f}m"
