"""The commands for the warehouse itself: its address, its schemas, its settings."""

from __future__ import annotations

import shlex

import click

from extract.settings import load_project, load_settings
from extract.warehouse import open_warehouse, redacted, stop_embedded
from tradehouse.output import out


@click.group()
def warehouse() -> None:
    """Start, stop or name the warehouse.

    Example: tradehouse warehouse uri
    """


@warehouse.command()
def uri() -> None:
    """Print the warehouse's address (password masked), starting the embedded one if needed.

    Example: psql "$(tradehouse warehouse uri)" -c "SELECT COUNT(*) FROM eurusd_h1"
    """
    click.echo(redacted(open_warehouse(load_settings()).uri))


@warehouse.command()
def init() -> None:
    """Create the schemas and staging tables, which dbt needs before it can run alone.

    Example: tradehouse warehouse init && eval "$(tradehouse env)" && (cd dbt_project && dbt build)
    """
    from extract.schema import prepared

    with prepared(load_settings(), load_project(), "init"):
        out.print(f"ready: {open_warehouse(load_settings()).description}", markup=False)


@warehouse.command("max-rows")
@click.argument("rows", required=False, type=click.IntRange(1))
def max_rows(rows: int | None) -> None:
    """Print how many rows each candle table keeps, or change it. The next runs prune the tables, or fill them.

    Example: tradehouse warehouse max-rows 20000
    """
    from extract.schema import prepared
    from extract.sources.mt5.row_cap import DEFAULT_ROWS, row_cap, set_row_cap

    with prepared(load_settings(), load_project(), "max-rows") as connection:
        if rows is not None:
            set_row_cap(connection, rows)
        out.print(f"{row_cap(connection) or DEFAULT_ROWS:,} rows a candle table")


@warehouse.command()
def stop() -> None:
    """Stop the embedded Postgres; its data stays.

    Example: tradehouse warehouse stop
    """
    out.print("stopped" if stop_embedded(load_settings()) else "was not running")


@click.command()
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
