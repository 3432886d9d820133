"""Ticks of the running service and full builds, beside the plain script.

Usage: python -m benchmarks.ticks DIRECTORY [--days 35] [--rounds 7]

A worker of `python -m benchmarks`, in a process of its own: it measures the project it lies in and prints what it
found as JSON. All is warm: one process, the project parsed, the tables filled by the same backfill. Each round
changes the file once and lets both bring their tables up to date, in turns.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import psycopg2

from benchmarks import plain_script
from benchmarks.contest import PLAIN, Contest, Report, Section, hold
from benchmarks.source import Source
from extract.cycle import Pipeline
from extract.dbt_runner import Dbt
from extract.settings import SQL, Project, Settings, load_project
from extract.warehouse import open_warehouse, stop_embedded

ABOUT = (
    "One warm process for each, its project parsed and its tables filled by the same backfill, as the service is "
    "after its first cycle. `on the hour`: a new bar of every symbol, on all grids up to H1. `at midnight`: one on "
    "every grid. `nothing new`: dbt runs all candle tables although no bar has changed."
)


def measure_ticks(root: Path, directory: Path, *, days: int, rounds: int, title: str, report: Report) -> Section:
    """Run this module in the project at `root` and read what it found.

    Raises:
        RuntimeError: it failed; the message has what it printed.
    """
    directory.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.ticks", directory, "--days", str(days), "--rounds", str(rounds)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stderr
    printed = []
    for line in process.stderr:
        printed.append(line)
        report(line.strip())
    found = process.stdout.read()
    if process.wait():
        raise RuntimeError(f"the ticks of {title} failed:\n{''.join(printed)[-2000:]}")
    content: dict[str, Any] = json.loads(found)
    contests = [Contest(**contest) for contest in content["contests"]]
    return Section(title, ABOUT, contests, content["figures"])


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--days", default=35, show_default=True, help="Days of bars to start from.")
@click.option("--rounds", default=7, show_default=True, help="Ticks of each contender.")
def main(directory: Path, days: int, rounds: int) -> None:
    """Measure warm ticks and print the findings as JSON.

    Example: python -m benchmarks.ticks /tmp/bench --days 5
    """

    def report(text: str) -> None:
        click.echo(text, err=True)

    project = load_project()
    report("writing the SQLite file")
    source = Source(directory / "ticks.db", project.symbols, project.timeframes, days, SQL / "sqlite_schema.sql")
    settings = Settings(sqlite_path=source.path, postgresql_uri=None, tradehouse_home=directory)
    warehouse = open_warehouse(settings)
    try:
        dbt = Dbt(settings, warehouse, "", keep_project=True)
        with Pipeline(settings, project, unattended=True) as pipeline:
            figures = _start(settings, project, pipeline, dbt, source, report)
            contests = _contests(project, pipeline, dbt, source, warehouse.uri, rounds, report)
    finally:
        stop_embedded(settings)
    print(json.dumps({"contests": [vars(contest) for contest in contests], "figures": figures}))


def tick(pipeline: Pipeline, tables: int | None = None) -> float:
    """One cycle as the service runs it; returns its seconds.

    Raises:
        RuntimeError: something failed, or it did not build as many `tables` as the file's change calls for.
    """
    started = time.perf_counter()
    result = pipeline.run("bench")
    seconds = time.perf_counter() - started
    if not result.ok or tables not in (None, result.transform.built):
        raise RuntimeError(
            f"a tick built {result.transform.built} tables, not {tables}, and these failed: {result.transform.failed}"
        )
    return seconds


def _start(
    settings: Settings, project: Project, pipeline: Pipeline, dbt: Dbt, source: Source, report: Report
) -> dict[str, str]:
    """Parse, build, tick once; returns what that took."""
    report("parsing the project for the first time")
    first_parse = _seconds(Dbt(settings, open_warehouse(settings), "").parse)
    report("parsing it again")
    second_parse = _seconds(dbt.parse)
    report("first build")
    with Pipeline(settings, project) as by_hand:
        first_build = tick(by_hand)
    report("a build with every test")
    tested_build = tick(pipeline)
    source.revise_forming_bars()
    tick(pipeline, _tables_on_grid(project, source))
    return {
        "bars": f"{source.rows:,} of {len(project.symbols)} symbols",
        "candle tables": str(len(project.candle_tables)),
        "parsing the project": f"{first_parse:.1f} s the first time with importing dbt, {second_parse:.1f} s again",
        "first build": f"{first_build:.1f} s, landing included",
        "build with every test": f"{tested_build:.1f} s, as the service does it at its start and hourly",
        "peak memory of the process": f"{_peak_memory() / 2**20:,.0f} MiB, the builds included",
    }


def _contests(
    project: Project, pipeline: Pipeline, dbt: Dbt, source: Source, uri: str, rounds: int, report: Report
) -> list[Contest]:
    with closing(psycopg2.connect(uri)) as connection:

        def plain() -> float:
            return _seconds(
                lambda: plain_script.sync(source.path, connection, "plain", source.tables, project.timeframes)
            )

        def tradehouse() -> float:
            return tick(pipeline, _tables_on_grid(project, source))

        def full_build() -> float:
            return _seconds(lambda: dbt.run("run", "--exclude", "config.materialized:view"))

        report("filling the plain script's tables")
        plain()
        ticks = {PLAIN: plain, "tradehouse": tradehouse}
        changes = {
            f"{len(source.tables)} forming bars": source.revise_forming_bars,
            "on the hour": source.add_bars_on_the_hour,
            "at midnight": source.add_bars_at_midnight,
        }
        contests = []
        for name, change in changes.items():
            contest = hold(name, ticks, rounds, before=change, report=report)
            tables = _tables_on_grid(project, source)
            contests.append(Contest(f"tick, {name}: {tables} tables", contest.seconds))
        builds = {PLAIN: plain, "dbt run": full_build}
        contests.append(hold(f"nothing new, all {len(project.candle_tables)} tables", builds, rounds, report=report))
    return contests


def _tables_on_grid(project: Project, source: Source) -> int:
    """How many candle tables the newest bar of every symbol belongs to."""
    return len(project.symbols) * sum(source.newest // 60 % minutes == 0 for minutes in project.timeframes.values())


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _peak_memory() -> int:
    """The most memory this process has held, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
