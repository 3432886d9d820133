"""A backfill from an empty warehouse, beside the plain script that does the same job."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from benchmarks.contest import PLAIN, Report, Section, hold
from benchmarks.server import Server, embedded_server, timed
from benchmarks.source import Source

HERE = Path(__file__).resolve().parent
TRADEHOUSE = Path(sys.executable).parent / "tradehouse"


def measure_backfill(source: Source, directory: Path, rounds: int, report: Report) -> Section:
    """Time both from start to end, each into an empty database of the same server.

    `first` is a project dbt has never parsed here; `usual` is every later backfill.
    """
    with embedded_server(directory / "postgres") as server:
        home = directory / "home"
        contest = hold(
            f"backfill of {source.rows:,} bars",
            {
                PLAIN: lambda: _plain(source.path, server),
                "tradehouse sync, first": lambda: _tradehouse(source.path, server, home, parsed=False),
                "tradehouse sync, usual": lambda: _tradehouse(source.path, server, home, parsed=True),
            },
            rounds,
            report=report,
        )
    return Section(
        "Backfill",
        "Whole programs, start-up included, each into an empty database of the same embedded Postgres. `first` is "
        "where dbt has never parsed the project, `usual` is every later time.",
        [contest],
    )


def _plain(sqlite_path: Path, server: Server) -> float:
    uri = server.fresh_database("plain")
    return timed([sys.executable, HERE / "plain_script.py", sqlite_path, uri, "--schema", "public"])


def _tradehouse(sqlite_path: Path, server: Server, home: Path, *, parsed: bool) -> float:
    uri = server.fresh_database("tradehouse")
    if not parsed:
        shutil.rmtree(home, ignore_errors=True)
    return timed(
        [TRADEHOUSE, "sync"],
        {"SQLITE_PATH": str(sqlite_path), "POSTGRESQL_URI": uri, "TRADEHOUSE_HOME": str(home)},
    )
