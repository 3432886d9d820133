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
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from unittest import mock

import click
import psycopg2

from benchmarks import plain_script
from benchmarks.contest import PLAIN, Contest, Report, Section, hold
from benchmarks.source import Source
from extract import run as run_module
from extract.dbt_runner import Dbt
from extract.run import Runner
from extract.settings import SQL, Project, Settings, load_project
from extract.sources.mt5 import bars
from extract.sources.mt5.source import Mt5Reading, Mt5Source
from extract.warehouse import open_warehouse, stop_embedded

_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024
PHASES = (
    ("read", bars, "extract"),
    ("compare", bars, "compare"),
    ("land", bars, "land"),
    ("refresh", run_module, "refresh"),
)
ABOUT = (
    "One warm process for each, its project parsed and its tables filled by the same backfill, as the service is "
    "after its first run. `on the hour`: a new bar of every symbol, on all grids up to H1. `at midnight`: one on "
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
        dbt = Dbt(settings, warehouse, "mt5", "dbt-bench")
        with Runner(settings, project, Mt5Source(settings, project)) as runner:
            figures = _start(project, runner, dbt, source, report)
            contests = _contests(project, runner, dbt, source, warehouse.uri, rounds, report, figures)
    finally:
        stop_embedded(settings)
    print(json.dumps({"contests": [vars(contest) for contest in contests], "figures": figures}))


def tick(runner: Runner[Mt5Reading], tables: int | None = None) -> float:
    """One run as the service does it; returns its seconds.

    Raises:
        RuntimeError: something failed, or it did not refresh as many `tables` as the file's change calls for.
    """
    started = time.perf_counter()
    outcome = runner.run("bench")
    seconds = time.perf_counter() - started
    built = len(outcome.transform.built)
    if not outcome.ok or (tables is not None and built != tables + 1):  # and ohlc
        raise RuntimeError(f"a tick refreshed {built - 1} tables, not {tables}; its problems: {outcome.problems}")
    return seconds


def _start(project: Project, runner: Runner[Mt5Reading], dbt: Dbt, source: Source, report: Report) -> dict[str, str]:
    """Parse, build, tick once; returns what that took."""
    report("parsing the project for the first time")
    first_parse = _seconds(lambda: _parse(dbt))
    report("parsing it again")
    second_parse = _seconds(lambda: _parse(dbt))
    report("first build")
    first_build = tick(runner)
    report("a build with every test")
    tested_build = _seconds(lambda: dbt.run("build", "--select", "tag:mt5"))
    source.revise_forming_bars()
    first_tick = tick(runner, _tables_on_grid(project, source))
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _MAXRSS_UNIT
    return {
        "bars": f"{source.rows:,} of {len(project.symbols)} symbols",
        "candle tables": str(len(project.candle_tables)),
        "parsing the project": f"{first_parse:.1f} s the first time with importing dbt, {second_parse:.1f} s again",
        "first build": f"{first_build:.1f} s, landing included",
        "build with every test": f"{tested_build:.1f} s, as the service does it hourly, beside its ticks",
        "first tick": f"{first_tick:.2f} s, which plans the increments of this connection",
        "peak memory of the process": f"{_peak_memory() / 2**20:,.0f} MiB",
        "peak memory of dbt's": f"{children / 2**20:,.0f} MiB, gone when a build ends",
    }


def _parse(dbt: Dbt) -> None:
    process = dbt.start("build")
    process.wait_until_parsed()
    process.end()


def _contests(
    project: Project,
    runner: Runner[Mt5Reading],
    dbt: Dbt,
    source: Source,
    uri: str,
    rounds: int,
    report: Report,
    figures: dict[str, str],
) -> list[Contest]:
    """Hold all contests; `figures` gains where the time of each kind of tick goes."""
    with closing(psycopg2.connect(uri)) as connection:

        def plain() -> float:
            return _seconds(
                lambda: plain_script.sync(source.path, connection, "plain", source.tables, project.timeframes)
            )

        def tradehouse() -> float:
            return tick(runner, _tables_on_grid(project, source))

        def full_build() -> float:
            return _seconds(lambda: dbt.run("run", "--select", "tag:mt5,config.materialized:incremental"))

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
            figures[f"where a tick goes, {name}"] = _phases(runner, change)
        builds = {PLAIN: plain, "dbt run": full_build}
        contests.append(hold(f"nothing new, all {len(project.candle_tables)} tables", builds, rounds, report=report))
    return contests


def _phases(runner: Runner[Mt5Reading], change: Callable[[], object], ticks: int = 5) -> str:
    """The median milliseconds of each part of a tick; the rest is the lock, the record and small questions."""
    spent: dict[str, list[float]] = {}

    def timed(phase: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timing(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return work(*arguments, **options)
            finally:
                spent.setdefault(phase, []).append(time.perf_counter() - started)

        return timing

    with ExitStack() as patches:
        for phase, module, name in PHASES:
            patches.enter_context(mock.patch.object(module, name, timed(phase, getattr(module, name))))
        for _ in range(ticks):
            change()
            spent.setdefault("whole", []).append(tick(runner))
    medians = {phase: 1000 * statistics.median(seconds) for phase, seconds in spent.items()}
    whole = medians.pop("whole")
    medians["rest"] = whole - sum(medians.values())
    return f"{whole:.0f} ms: " + ", ".join(f"{phase} {each:.0f}" for phase, each in medians.items())


def _tables_on_grid(project: Project, source: Source) -> int:
    """How many candle tables the newest bar of every symbol belongs to."""
    return len(project.symbols) * sum(source.newest // 60 % minutes == 0 for minutes in project.timeframes.values())


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _peak_memory() -> int:
    """The most memory this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT


if __name__ == "__main__":
    main()
