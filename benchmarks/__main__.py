"""Everything the project claims about speed, measured beside the plain script: `make bench`."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks.backfill import measure_backfill
from benchmarks.contest import Report, Section
from benchmarks.extraction import dlt_version, measure_extraction
from benchmarks.machine import describe
from benchmarks.scale import measure_scale
from benchmarks.server import embedded_server
from benchmarks.source import Source
from benchmarks.ticks import measure_ticks
from extract.settings import ROOT, SQL, load_project
from extract.warehouse import Warehouse

PARTS = ("backfill", "ticks", "extraction", "scale")
RESULTS = Path(__file__).resolve().parent / "RESULTS.md"
HEADINGS = ("job", "contender", "median, s", "all runs, s", "ratio to plain")

INTRODUCTION = """\
# Results

Written by `make bench`; change nothing here by hand. Seconds are wall time, medians count, and the contenders take
turns on the same machine in the same run. The yardstick is the script most people would write for the job
([plain_script.py](plain_script.py), [plain_extract.py](plain_extract.py)): a ratio below 1 is faster than it.
"""


REPEATING = """\
## Repeating it

`make bench` measures all of this anew and writes this file; `python -m benchmarks --help` tells how to choose parts,
rounds and days. pgloader takes part where it is on PATH, dlt where `--dlt-python` names an interpreter that has it:

    python -m venv /tmp/dlt && /tmp/dlt/bin/pip install 'dlt[postgres]' pyarrow sqlalchemy
    python -m benchmarks --dlt-python /tmp/dlt/bin/python

Nothing else should run meanwhile: with two cores, anything that does takes part in the measurement.
"""


def _chosen(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Benchmarks named in a comma-separated list."""
    if value is None:
        return None
    names = tuple(value.split(","))
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise click.BadParameter(f"unknown: {', '.join(unknown)}; known are {', '.join(PARTS)}")
    return names


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1), help="Runs of each contender.")
@click.option("--only", callback=_chosen, help=f"Some of {','.join(PARTS)}; RESULTS.md is then left as it is.")
@click.option("--days", default=35, show_default=True, type=click.IntRange(1), help="Days of bars, 288 a day.")
@click.option(
    "--dlt-python",
    default=sys.executable,
    help="An interpreter that has dlt, pyarrow and SQLAlchemy.  [default: this one]",
)
def main(rounds: int, only: tuple[str, ...] | None, days: int, dlt_python: str) -> None:
    """Measure beside the plain script, print the tables, and write benchmarks/RESULTS.md.

    pgloader takes part where it is on PATH, dlt where the interpreter has it.

    Example: python -m benchmarks --rounds 3 --only backfill,extraction
    """
    dlt = dlt_python if dlt_version(dlt_python) else None
    if dlt is None and dlt_python != sys.executable:
        raise click.BadParameter(f"{dlt_python} cannot import dlt, pyarrow and sqlalchemy", param_hint="--dlt-python")
    load = os.getloadavg()[0]
    console, progress = Console(), Console(stderr=True)
    sections = []
    with tempfile.TemporaryDirectory() as name, progress.status("writing the SQLite file") as status:
        directory = Path(name)

        def report(text: str) -> None:
            status.update(text)

        for part, measure in _benchmarks(directory, only or PARTS, rounds, days, dlt, report):
            (directory / part).mkdir()
            section = measure(directory / part)
            sections.append(section)
            _print(console, section)
        if only is None:
            with embedded_server(directory / "version") as server:
                machine = describe(Warehouse(server.uri("postgres"), embedded=True), dlt)
            machine["load before the first run"] = f"{load:.1f} (0 on a machine that does nothing else)"
            RESULTS.write_text(_markdown(sections, machine, rounds), encoding="utf-8")
            console.print(f"written to {RESULTS.relative_to(ROOT)}")


def _benchmarks(
    directory: Path, parts: tuple[str, ...], rounds: int, days: int, dlt: str | None, report: Report
) -> list[tuple[str, Callable[[Path], Section]]]:
    """The chosen benchmarks, in the order of PARTS; each gets a directory of its own."""
    project = load_project()
    path, schema = directory / "bench.db", SQL / "sqlite_schema.sql"
    source = Source(path, project.symbols, project.timeframes, days, schema)
    measures: dict[str, Callable[[Path], Section]] = {
        "backfill": lambda place: measure_backfill(source, place, rounds, report),
        "ticks": lambda place: measure_ticks(
            ROOT, place / "ticks", days=days, rounds=rounds, title="Ticks and full builds", report=report
        ),
        "extraction": lambda place: measure_extraction(source, place, rounds, dlt, report),
        "scale": lambda place: measure_scale(place, days, rounds, report),
    }
    return [(part, measures[part]) for part in PARTS if part in parts]


def _print(console: Console, section: Section) -> None:
    table = Table(title=section.title)
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in HEADINGS[:2] else "right")
    for contest in section.contests:
        for row in contest.rows():
            table.add_row(*row)
    console.print(table)
    for name, text in section.figures.items():
        console.print(f"{name}: {text}", highlight=False)


def _markdown(sections: list[Section], machine: dict[str, str], rounds: int) -> str:
    lines = [INTRODUCTION, f"{datetime.now(timezone.utc):%Y-%m-%d}, {rounds} rounds:", ""]
    lines += _markdown_table(("", "measured on"), machine.items())
    for section in sections:
        lines += ["", f"## {section.title}", "", section.about, ""]
        lines += _markdown_table(HEADINGS, (row for contest in section.contests for row in contest.rows()))
        if section.figures:
            lines += ["", *_markdown_table(("", section.title), section.figures.items())]
    return "\n".join(lines) + "\n\n" + REPEATING


def _markdown_table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    cells = [list(headings), *map(list, rows)]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return [lines[0], "|---" * len(cells[0]) + "|", *lines[1:]]


if __name__ == "__main__":
    main()
