"""The `tradehouse indicators` commands: print, and exit with codes. No logic."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import click

from extract.errors import LockHeldError, TradehouseError
from extract.process_control import stopping_on_signals
from extract.settings import load_project, load_settings
from indicators.series import INSTRUMENT_TYPES
from tradehouse.output import DONE, PARTIAL, err, out, progress
from tradehouse.source_commands import (
    JSON,
    TEST_EVERY,
    TESTS,
    check_source,
    open_runner,
    print_run,
    serve_source,
    sync_source,
)

Command = Callable[..., Any]

TYPES = click.option(
    "--type",
    "types",
    multiple=True,
    type=click.Choice(INSTRUMENT_TYPES),
    help="Only instruments of this type; may be given several times.",
)
WORKERS = click.option(
    "--workers", type=click.IntRange(1, 64), help="How many processes compute.  [default: INDICATORS_WORKERS]"
)
RESUME = click.option(
    "--no-resume",
    "resume",
    flag_value=False,
    default=True,
    help="Drop the files that wait, and compute every series from its first candle.",
)
KEEP = click.option("--keep", is_flag=True, help="Delete no file from the archive.")
WATCH = click.option("--watch", is_flag=True, help="Go on until SIGTERM, and look for work again after each interval.")
INTERVAL = click.option(
    "--interval", type=click.IntRange(1), help="Seconds between two looks with --watch.  [default: 5; of `run`: 60]"
)


@click.group()
def indicators() -> None:
    """Compute technical indicators of the candles in the warehouse.

    Example: tradehouse indicators run --workers 2
    """


@indicators.command("test")
def check() -> None:
    """Say how much there is to compute and to load. Touches no table.

    Example: tradehouse indicators test
    """
    check_source("indicators")


@indicators.command("compute")
@WORKERS
@TYPES
@RESUME
@WATCH
@INTERVAL
def compute_files(workers: int | None, types: tuple[str, ...], resume: bool, watch: bool, interval: int | None) -> None:
    """Compute what has changed, and leave it as Parquet files for `load`. Writes nothing to the warehouse.

    Example: tradehouse indicators compute --workers 2
    """
    from indicators.source import compute_stage, options

    _require_end(resume=resume, watch=watch)
    settings, project = load_settings(), load_project()

    def once(stop: threading.Event) -> int:
        chosen = options(workers=workers, types=types, resume=resume)
        with progress() as report:
            done = compute_stage(settings, project, chosen, report, stop)
        for part, why in done.failed.items():
            err.print(f"{part}: {why}", markup=False)
        if done.files or not watch:
            counts = f"{done.rows:,} rows in {done.files:,} files"
            out.print(f"{done.series:,} series computed of {done.candles:,} candles: {counts}")
        return PARTIAL if done.failed else DONE

    sys.exit(_repeat(once, interval or 5, watch=watch))


@indicators.command("load")
@KEEP
@WATCH
@INTERVAL
@JSON
def load_files(keep: bool, watch: bool, interval: int | None, as_json: bool) -> None:
    """Load the files that `compute` has left, refresh the table, and move the files to the archive.

    Example: tradehouse indicators load --watch --interval 5
    """
    if not watch:
        sync_source("indicators", "indicators load", tests=False, as_json=as_json, computes=False, keep=keep)
    from indicators.files import Files

    settings = load_settings()

    def once(stop: threading.Event) -> int:
        if not Files(settings.home).pending():
            return DONE
        with open_runner("indicators", computes=False, keep=keep) as runner, progress() as report:
            outcome = runner.run("indicators load", stop=stop, progress=report)
        print_run(outcome, tests=False, as_json=as_json)
        return DONE if outcome.ok else PARTIAL

    sys.exit(_repeat(once, interval or 5, watch=True))


def _run_options(command: Command) -> Command:
    for option in reversed((WORKERS, TYPES, RESUME, KEEP, TESTS, JSON)):
        command = option(command)
    return command


@indicators.command()
@_run_options
def sync(tests: bool, as_json: bool, **chosen: Any) -> None:
    """Run once: load the files that wait, compute what has changed, load it, and refresh the table.

    Example: tradehouse indicators sync --type EQUITY
    """
    sync_source("indicators", "indicators sync", tests=tests, as_json=as_json, **chosen)


@indicators.command()
@_run_options
@WATCH
@INTERVAL
@TEST_EVERY
def run(tests: bool, as_json: bool, watch: bool, interval: int | None, build_every: int, **chosen: Any) -> None:
    """Run the whole pipeline once; with --watch it is the service.

    Example: tradehouse indicators run --workers 2 --type EQUITY
    """
    _require_end(resume=chosen["resume"], watch=watch)
    if watch:
        serve_source("indicators", "indicators run", interval, build_every, **chosen)
    else:
        sync_source("indicators", "indicators run", tests=tests, as_json=as_json, **chosen)


def _require_end(*, resume: bool, watch: bool) -> None:
    """Stop with an error where each look for work would compute everything anew."""
    if watch and not resume:
        raise click.UsageError("--no-resume computes everything anew; it does not go together with --watch")


def _repeat(once: Callable[[threading.Event], int], interval: float, *, watch: bool) -> int:
    """Do it once, or until SIGTERM or SIGINT; return the exit code. A watch goes on after an error, told once."""
    stop = threading.Event()
    if not watch:
        return once(stop)
    told = ""
    with stopping_on_signals(stop):
        while not stop.is_set():
            try:
                once(stop)
                told = ""
            except (TradehouseError, LockHeldError) as error:
                if str(error) != told:
                    err.print(f"{error}; trying again every {interval:g} s", markup=False)
                told = str(error)
            stop.wait(interval)
    return DONE
