"""Extraction and landing as `tradehouse sync` does them, without dbt.

Usage: python -m benchmarks.tradehouse_extract SQLITE_PATH POSTGRES_URI
"""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

from extract.duckdb_session import open_session
from extract.records import Run
from extract.schema import prepare
from extract.settings import Settings, load_project
from extract.sources.mt5 import bars
from extract.warehouse import Warehouse, holding_run_lock


def land(sqlite_path: Path, postgres_uri: str) -> None:
    """Land the file in the staging tables, which are made where they are missing."""
    project = load_project()
    warehouse = Warehouse(postgres_uri, embedded=False)
    with (
        closing(warehouse.connect("bench", autocommit=True)) as connection,
        holding_run_lock(connection, "mt5"),
        open_session("sqlite_scanner") as session,
    ):
        prepare(warehouse, connection, project)
        run = Run.start(connection, bars.SOURCE, "bench")
        since = bars.watermarks(connection, project.symbols)
        extraction = bars.extract(session, sqlite_path, project.columns, since, None, Settings().max_value_bytes)
        bars.compare(session, connection, extraction, since, project.timeframes.values())
        bars.land(session, run, extraction, since)
        bars.record(run, extraction)
        run.finish("done")


if __name__ == "__main__":
    land(Path(sys.argv[1]), sys.argv[2])
