"""The `tradehouse` command: prints, and exits with codes. No logic.

Exit codes: 0 done (also when there is nothing new or another run holds the lock), 1 partial (of `status`: not all is
current), 2 could not run.
"""

from __future__ import annotations

import json
import shlex
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.table import Table
from rich.text import Text

from collector.simulator import write_demo_data
from extract.errors import LockHeldError, SettingsError, WarehouseError
from extract.settings import SQL, Project, load_project, load_settings
from extract.warehouse import Warehouse, open_warehouse, redacted, stop_embedded
from serve.status import RunState, Status, SymbolState, TableState, read_status
from tradehouse.accounts_commands import accounts
from tradehouse.bybit_commands import bybit
from tradehouse.output import (
    COULD_NOT_RUN,
    DONE,
    PARTIAL,
    PLAIN,
    err,
    out,
    print_outcome,
    print_warnings,
    progress,
    utc,
)

if TYPE_CHECKING:
    from extract.sources.mt5.reconcile import Reconciliation


class _Commands(click.Group):
    """Turns the errors that mean "could not run" into one line and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LockHeldError as held:
            err.print(f"{held}; nothing to do", markup=False)
            sys.exit(DONE)
        except Exception as error:
            from extract.errors import SourceError, TransformError
            from extract.rest import ServiceError

            if not isinstance(error, (ServiceError, SettingsError, SourceError, TransformError, WarehouseError)):
                raise
            err.print(f"error: {error}", markup=False)
            sys.exit(COULD_NOT_RUN)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tradehouse")
def main() -> None:
    """Move trading data into Postgres, where dbt turns it into tested tables.

    Settings come from the environment or from .env: SQLITE_PATH, POSTGRESQL_URI (without it an embedded
    Postgres is used), LOOKBACK_MINUTES, MAX_ROWS_PER_TABLE, DBT_THREADS, LOG_LEVEL, TRADEHOUSE_HOME; for Bybit
    BYBIT_API_KEY, BYBIT_API_SECRET, BYBIT_BASE_URL, BYBIT_CATEGORIES, BYBIT_REQUESTS_PER_SECOND.

    Exit codes: 0 done, 1 partial (what failed is named, the rest is done; of `status`: something is stale or
    broken), 2 could not run.
    """


@main.command()
@click.option("--test", "tests", is_flag=True, help="Build everything and run every dbt test (dbt build).")
def sync(tests: bool) -> None:
    """Run one cycle: SQLite file to staging, staging to the candle tables.

    Example: SQLITE_PATH=trading_data.db tradehouse sync --test
    """
    from extract.cycle import Pipeline

    settings, project = load_settings(), load_project()
    settings.require_sqlite_path()
    with Pipeline(settings, project) as pipeline, progress() as report:
        result = pipeline.run("sync", tests=tests, progress=report)
    if result.extraction.error:
        err.print(result.extraction.error, markup=False)
    for outcome in result.extraction.outcomes.values():
        if outcome.error:
            err.print(f"{outcome.symbol.upper()}: {outcome.error}", markup=False)
        elif outcome.status == "empty":
            err.print(f"{outcome.symbol.upper()}: table {outcome.table} has no rows yet", markup=False)
    if result.extraction.ignored_tables:
        err.print(f"ignored tables: {', '.join(result.extraction.ignored_tables)}", markup=False)
    print_warnings(result.transform)
    for name, message in result.transform.failed.items():
        err.print(f"failed: {name}: {message}", markup=False)
    read = (
        f"{result.extraction.rows_read:,} rows read, {result.extraction.rows_changed:,} changed, "
        f"{result.extraction.rejects:,} values set aside"
    )
    print_outcome(result.ok, result.seconds, read, result.transform, tests=tests)
    sys.exit(DONE if result.ok else PARTIAL)


@main.command()
@click.option("--symbol", "names", multiple=True, metavar="SYMBOL", help="Only this symbol; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Compare and report; write nothing.")
def reconcile(names: tuple[str, ...], dry_run: bool) -> None:
    """Compare the whole SQLite file with staging, and staging with the tables; repair what differs.

    A cycle looks back LOOKBACK_MINUTES only. This finds what changed behind that, however old it is, and tables
    that somebody has touched. It needs some seconds per 100,000 bars; `tradehouse run` does it daily.

    Example: tradehouse reconcile --symbol EURUSD --dry-run
    """
    from extract.cycle import Pipeline
    from extract.sources.mt5.reconcile import reconcile as reconcile_symbols

    settings, project = load_settings(), load_project()
    symbols = [name.lower() for name in names] or list(project.symbols)
    unknown = [name for name in names if name.lower() not in project.symbols]
    if unknown:
        raise click.BadParameter(
            f"{', '.join(unknown)} is not configured; there are {', '.join(project.symbols).upper()}",
            param_hint="--symbol",
        )
    with Pipeline(settings, project, unattended=True) as pipeline, progress() as report:
        result = reconcile_symbols(pipeline, symbols, dry_run=dry_run, progress=report)
    _print_reconciliation(result)
    sys.exit(DONE if result.ok else PARTIAL)


@main.command()
@click.option("--every", type=click.IntRange(1), help="Seconds between ticks.  [default: SYNC_INTERVAL_SECONDS, 30]")
@click.option(
    "--build-every",
    default=60,
    show_default=True,
    type=click.IntRange(1),
    help="Minutes between full builds with every dbt test.",
)
@click.option(
    "--reconcile-every",
    default=24,
    show_default=True,
    type=click.IntRange(1),
    help="Hours between reconciliations of the whole file.",
)
def run(every: int | None, build_every: int, reconcile_every: int) -> None:
    """Run cycles unattended, on a steady tick, until SIGTERM.

    A tick builds the tables that changed. Everything is built and tested at the start, whenever the project's
    files change, and every --build-every minutes; the whole file is reconciled daily. Trouble is logged once when
    it comes and once when it goes.

    Example: tradehouse run --every 30
    """
    from extract.sources.mt5.service import Service
    from extract.unattended import serve

    settings, project = load_settings(), load_project()
    settings.require_sqlite_path()
    service = Service(
        settings=settings,
        project=project,
        every=float(every or settings.sync_interval_seconds),
        build_every=build_every * 60.0,
        reconcile_every=reconcile_every * 3600.0,
    )
    serve(service, settings.log_level)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option(
    "--grace",
    type=click.IntRange(0),
    help="Minutes a bar may be late; give twice the interval between runs where that is more.  [default: 5]",
)
def status(as_json: bool, grace: int | None) -> None:
    """Tell whether every candle table is current, and if not, what is late; then the last runs.

    A table is current when it has the newest bar of its timeframe that was due while the market was open. Exit
    codes: 0 all is current, 1 something is stale or broken, 2 could not look.

    Example: tradehouse status --json
    """
    settings, project = load_settings(), load_project()
    warehouse = open_warehouse(settings)
    with warehouse.reading("status") as connection:
        state = read_status(connection, project, project.grace_minutes if grace is None else grace)
    if as_json:
        click.echo(json.dumps(state.as_dict(), default=lambda moment: utc(moment).isoformat(), indent=2))
    else:
        _print_status(state, project, warehouse)
    sys.exit(DONE if state.ok else PARTIAL)


@main.command("demo-data")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--days", default=40, show_default=True, type=click.IntRange(1, 3650), help="Days back from now.")
@click.option("--seed", default=7, show_default=True, help="Random seed: the same seed, the same walk.")
@click.option("--around-the-clock", is_flag=True, help="No weekends: 288 bars a day for every symbol.")
@click.option("--keep", is_flag=True, help="Leave an existing file as it is and succeed.")
def demo_data(path: Path, days: int, seed: int, around_the_clock: bool, keep: bool) -> None:
    """Write an SQLite file as the MetaTrader 5 collector would, defects included.

    Example: tradehouse demo-data sample.db --days 40
    """
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
        f"{summary.unreadable_values:,} unreadable values, as a collector writes them",
        markup=False,
    )


@main.group()
def warehouse() -> None:
    """Start, stop or name the warehouse.

    Example: tradehouse warehouse uri
    """


@warehouse.command()
def uri() -> None:
    """Print the warehouse's address (password masked), starting the embedded one if need be.

    Example: psql "$(tradehouse warehouse uri)" -c "SELECT COUNT(*) FROM eurusd_h1"
    """
    click.echo(redacted(open_warehouse(load_settings()).uri))


@warehouse.command()
def init() -> None:
    """Create the schemas and staging tables, which dbt needs before it can run alone.

    Example: tradehouse warehouse init && eval "$(tradehouse env)" && (cd dbt_project && dbt build)
    """
    target = open_warehouse(load_settings())
    with target.run_lock("init", "mt5") as connection:
        target.prepare(connection, load_project().symbols)
    out.print(f"ready: {redacted(target.uri)}", markup=False)


@warehouse.command()
def stop() -> None:
    """Stop the embedded Postgres; its data stays.

    Example: tradehouse warehouse stop
    """
    out.print("stopped" if stop_embedded(load_settings()) else "was not running")


@main.command()
def env() -> None:
    """Print the variables that dbt and psql need to find the warehouse, for `eval`. Never the password.

    Example: eval "$(tradehouse env)" && cd dbt_project && dbt build
    """
    from extract.dbt_runner import prepare_environment

    settings = load_settings()
    for name, value in prepare_environment(settings, open_warehouse(settings)).items():
        if name == "PGPASSWORD":
            click.echo("# PGPASSWORD is not printed: export it yourself")
        else:
            click.echo(f"export {name}={shlex.quote(value)}")


@main.command()
@click.argument("sql", required=False)
@click.option(
    "--format",
    "kind",
    default="table",
    show_default=True,
    type=click.Choice(["table", "csv", "json", "parquet"]),
    help="csv, json and parquet give all rows and exact values; parquet needs --output.",
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.")
@click.option("--list", "listed", is_flag=True, help="List the named queries and the questions they answer.")
def query(sql: str | None, kind: str, output: Path | None, listed: bool) -> None:
    """Run DuckDB SQL, or a named query, on the SQLite file (mt5) and the warehouse (wh). Reads only.

    Example: tradehouse query "select count(*) from mt5.EURUSD" or tradehouse query @drift
    """
    from extract.errors import QueryError
    from serve.inspection import named_queries, open_inspection, query_text
    from serve.rendering import write_rows

    if listed:
        for name, each in named_queries().items():
            click.echo(f"@{name}: {each.question}")
        return
    if sql is None:
        raise click.UsageError('name a query: tradehouse query "SQL" or @name (--list shows them)')
    if kind == "parquet" and output is None:
        raise click.UsageError("--format parquet needs --output FILE")
    try:
        sql = query_text(sql)
        settings, project = load_settings(), load_project()
        with open_inspection(settings, project, open_warehouse(settings), output) as inspection:
            for note in inspection.notes:
                err.print(f"note: {note}", markup=False)
            if kind == "parquet" and output is not None:
                inspection.write_parquet(sql, output)
            elif output is not None:
                rows = inspection.run(sql)
                with output.open("w", encoding="utf-8", newline="") as file:
                    write_rows(rows, kind, file)
            else:
                write_rows(inspection.run(sql), kind, sys.stdout)
    except (QueryError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # the reader has seen enough; click knows how to end
            raise
        err.print(f"error: {error}", markup=False)
        sys.exit(COULD_NOT_RUN)


@main.command()
def shell() -> None:
    """Ask one query after another, from a terminal or a pipe, as `tradehouse query` does. Reads only.

    Example: echo "from wh.eurusd_h1 limit 3;" | tradehouse shell
    """
    from extract.errors import QueryError
    from serve.inspection import open_inspection
    from serve.shell import Shell

    settings, project = load_settings(), load_project()
    try:
        with open_inspection(settings, project, open_warehouse(settings)) as inspection:
            for note in inspection.notes:
                err.print(f"note: {note}", markup=False)
            session = Shell(inspection, sys.stdin, sys.stdout, sys.stderr)
            session.loop()
    except QueryError as error:
        err.print(f"error: {error}", markup=False)
        sys.exit(COULD_NOT_RUN)
    sys.exit(PARTIAL if session.failures and not sys.stdin.isatty() else DONE)


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


def _print_status(state: Status, project: Project, target: Warehouse) -> None:
    """Tables for people, in 80 columns. Colour says nothing that a character does not say too."""
    table = Table(
        title="Newest bar of source and tables (time of today, or date; UTC), rows; ! behind",
        **PLAIN,
    )
    table.add_column("symbol\nrejects", no_wrap=True)
    for heading in ("source", *project.timeframes):
        table.add_column(heading, justify="right", no_wrap=True)
    for symbol in state.symbols:
        cells = [_table_cell(each, state.as_of) for each in state.tables if each.symbol == symbol.symbol]
        table.add_row(f"{symbol.symbol.upper()}\n{_rejects(symbol)}", _source_cell(symbol, state.as_of), *cells)
    out.print(table)
    out.print()
    if state.runs:
        out.print(_run_table(state.runs))
        out.print()
    errors: dict[str, list[str]] = {}
    for run in state.runs:
        if run.error:
            errors.setdefault(run.error, []).append(str(run.run_id))
    for error, run_ids in errors.items():
        out.print(f"run {', '.join(run_ids)}: {error}", markup=False)
    out.print(f"warehouse: {redacted(target.uri)}", markup=False)
    if state.ok:
        out.print(f"all {len(state.tables)} tables are current")
    for problem in state.problems:
        out.print(f"! {problem}", style="red", markup=False)


def _table_cell(table: TableState, as_of: datetime) -> Text:
    """Newest bar over rows; with a mark and the lag below where it is not current."""
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
    table = Table(title="Last runs", **PLAIN)
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
    """A number in six characters, which is what nine timeframes leave each other on 80 columns."""
    return f"{number:,}" if number < 100_000 else f"{number / 1000:.0f}k"


def _moment(moment: datetime | None, as_of: datetime) -> str:
    """The time of day, or the date where it is another day's."""
    if moment is None:
        return "-"
    same_day = utc(moment).date() == utc(as_of).date()
    return f"{utc(moment):%H:%M}" if same_day else f"{utc(moment):%m-%d}"


def _short(seconds: float) -> str:
    """A duration in its two or three most telling characters."""
    for unit, length in (("d", 86_400), ("h", 3_600)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds / 60:.0f}m"


main.add_command(bybit)
main.add_command(accounts)


if __name__ == "__main__":
    main()
