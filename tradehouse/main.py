"""The `tradehouse` command: the root group, and how errors become exit codes.

Exit codes: 0 done (also if there is nothing new or another run holds the lock), 1 partial (for `status`: not all is
current), 2 could not run.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from extract.errors import LockHeldError, TradehouseError
from tradehouse.accounts_commands import accounts
from tradehouse.alert_commands import alerts
from tradehouse.api_key_commands import api_keys
from tradehouse.bybit_commands import bybit
from tradehouse.indicators_commands import indicators
from tradehouse.mt5_commands import demo_data, mt5, reconcile, run, sync
from tradehouse.output import COULD_NOT_RUN, DONE, err, print_json
from tradehouse.query_commands import query, shell
from tradehouse.registry import SOURCES
from tradehouse.reject_commands import rejects
from tradehouse.serve_command import serve
from tradehouse.source_commands import AS_JSON, source_group
from tradehouse.status_command import status
from tradehouse.upstox_commands import upstox
from tradehouse.warehouse_commands import env, warehouse


class _Commands(click.Group):
    """Turns the errors that mean "could not run" into one line and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LockHeldError as held:
            err.print(f"{held}; nothing to do", markup=False)
            sys.exit(DONE)
        except TradehouseError as error:
            if ctx.meta.get(AS_JSON):
                print_json({"success": False, "error": str(error)})
            err.print(f"error: {error}", markup=False)
            sys.exit(COULD_NOT_RUN)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tradehouse")
def main() -> None:
    """Move trading data into Postgres, where dbt turns it into tested tables.

    Settings come from the environment or from .env; docs/settings.md lists them all. The first ones to know:
    SQLITE_PATH (the collector's file) and POSTGRESQL_URI (without it an embedded Postgres is used).

    Exit codes: 0 done, 1 partial (what failed is named, the rest is done; of `status`: something is stale or
    broken), 2 could not run.
    """


FOR_CANDLES = (sync, run, status, reconcile, query, shell, demo_data, rejects, warehouse, env)
OF_SOURCES = (mt5, bybit, accounts, upstox, indicators)
FOR_READERS = (serve, api_keys, alerts)
for command in (*FOR_CANDLES, *OF_SOURCES, *FOR_READERS):
    main.add_command(command)
for name in SOURCES:
    if name not in main.commands:
        main.add_command(source_group(name))


if __name__ == "__main__":
    main()
