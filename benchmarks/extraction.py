"""Extraction alone: the SQLite file into empty staging tables, beside a plain script, pgloader and dlt."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.contest import PLAIN, Report, Section, hold
from benchmarks.server import Server, embedded_server, timed
from benchmarks.source import Source

HERE = Path(__file__).resolve().parent
DATABASE = "landing"
# By default pgloader takes REAL for float4, which loses digits and refuses EMPTY_VALUE.
PGLOADER_COMMAND = """\
load database
    from sqlite://{sqlite_path}
    into postgresql://postgres@unix:{socket_directory}:5432/{database}
    with create tables, create indexes
    cast type real to "double precision" drop typemod using float-to-string;
"""


def measure_extraction(source: Source, directory: Path, rounds: int, dlt_python: str | None, report: Report) -> Section:
    """Time each from start to end, each into an empty database of the same server.

    Args:
        source: the file to land.
        directory: for the server and for what the contenders write.
        rounds: runs of each.
        dlt_python: an interpreter that has dlt, or None to leave dlt out.
        report: told what is at work.
    """
    with embedded_server(directory / "postgres") as server:

        def landing_by(relation: str, command: list[str | Path]) -> Callable[[], float]:
            def run() -> float:
                server.fresh_database(DATABASE)
                seconds = timed(command, {"PYTHONPATH": str(HERE.parent), **dlt_settings})
                landed = server.count(DATABASE, relation)
                if landed * len(source.tables) != source.rows:
                    raise RuntimeError(f"{command[0]} landed {landed} rows in {relation}")
                return seconds

            return run

        dlt_settings = {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "CRITICAL"}
        arguments: list[str | Path] = [source.path, server.uri(DATABASE)]
        contenders = {
            PLAIN: landing_by("staging.eurusd", [sys.executable, "-m", "benchmarks.plain_extract", *arguments]),
            "tradehouse": landing_by(
                "staging.eurusd", [sys.executable, "-m", "benchmarks.tradehouse_extract", *arguments]
            ),
        }
        figures = {}
        if shutil.which("pgloader"):
            contenders["pgloader"] = landing_by(
                "public.eurusd", ["pgloader", _pgloader_command(source.path, server, directory)]
            )
        else:
            figures["pgloader"] = "not on PATH, left out"
        if dlt_python:
            contenders["dlt"] = landing_by(
                "staging.eurusd", [dlt_python, HERE / "dlt_extract.py", *arguments, directory / "dlt"]
            )
        else:
            figures["dlt"] = "left out; --dlt-python names an interpreter that has it"
        contest = hold(f"landing of {source.rows:,} bars", contenders, rounds, report=report)
    return Section(
        "Extraction alone",
        "Whole programs, start-up included: the SQLite file into empty tables of the same embedded Postgres. The plain "
        "script is sqlite3, csv and COPY. pgloader is told to keep doubles, which it would cut to four bytes. dlt "
        "uses its pyarrow backend and makes no primary key. Tradehouse alone checks every value, and compares before "
        "it writes.",
        [contest],
        figures,
    )


def dlt_version(python: str) -> str | None:
    """Version of dlt that an interpreter can import, with what the benchmark needs beside it."""
    done = subprocess.run(
        [python, "-c", "import dlt, pyarrow, sqlalchemy; print(dlt.__version__)"],
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip() if done.returncode == 0 else None


def _pgloader_command(sqlite_path: Path, server: Server, directory: Path) -> Path:
    path = directory / "bench.load"
    path.write_text(
        PGLOADER_COMMAND.format(sqlite_path=sqlite_path, socket_directory=server.sockets, database=DATABASE)
    )
    return path
