"""The `query` and `shell` commands over `serve.inspection`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from extract.settings import load_project, load_settings
from extract.warehouse import open_warehouse
from tradehouse.output import COULD_NOT_RUN, DONE, PARTIAL, err


@click.command()
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
    from serve.inspection import open_inspection
    from serve.named_queries import named_queries, query_text
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
            for note in [*inspection.notes, *inspection.hints(sql)]:
                err.print(f"note: {note}", markup=False)
            if kind == "parquet" and output is not None:
                inspection.write_parquet(sql, output)
            else:
                json_columns = inspection.json_columns(sql) if kind == "json" else frozenset()
                rows = inspection.run(sql)
                if output is None:
                    write_rows(rows, kind, sys.stdout, json_columns)
                else:
                    with output.open("w", encoding="utf-8", newline="") as file:
                        write_rows(rows, kind, file, json_columns)
    except (QueryError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # the reader closed the pipe; click ends the command
            raise
        err.print(f"error: {error}", markup=False)
        sys.exit(COULD_NOT_RUN)


@click.command()
def shell() -> None:
    """Run one query after another, from a terminal or a pipe, like `tradehouse query`. Reads only.

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
