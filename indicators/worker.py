"""A process that computes batches: one line of JSON in, one out, until its input ends.

A process of its own, because DuckDB takes the whole process along when the connection it reads from breaks. The address
of the warehouse comes as the first line, so that no list of processes shows its password.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import duckdb

from extract.duckdb_session import attach_warehouse, open_session
from extract.warehouse import Warehouse, complaint
from indicators.series import Series


def main() -> None:
    """Answer each batch with what was written, or with one line that says why not."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command ends us, by closing our input
    parent = os.getppid()
    # TA-Lib imports these where they are installed, which takes 0.4 s and 60 MB, and nothing here uses them
    sys.modules.update(dict.fromkeys(("pandas", "polars")))  # type: ignore[arg-type]
    start = json.loads(sys.stdin.readline())
    uri = start["uri"]
    session = open_session("postgres_scanner")
    session.execute("set threads = 1")
    attached = False
    for line in sys.stdin:
        try:
            if not attached:
                attach_warehouse(session, Warehouse(uri, embedded=False), "wh", "indicators")
                attached = True
            answer = _write(session, start, json.loads(line), parent)
        except (duckdb.Error, OSError) as error:
            answer = {"error": complaint(error, uri)}
        print(json.dumps(answer), flush=True)


def _write(
    session: duckdb.DuckDBPyConnection, start: dict[str, Any], task: dict[str, Any], parent: int
) -> dict[str, Any]:
    from indicators.batch import SeriesBatch

    path = Path(task["path"])
    part = path.with_suffix(".part")
    batch = SeriesBatch(session, start["types"], start["has_values"])
    series = [Series(**each) for each in task["series"]]
    rows = batch.write(series, str(part))
    if os.getppid() != parent:  # the command is gone, and another may have begun the same work
        part.unlink()
        sys.exit()
    part.rename(path)
    return {"rows": rows, "candles": batch.candles_read}


if __name__ == "__main__":
    main()
