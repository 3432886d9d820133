"""The same pipeline at 50 symbols of 15 timeframes: 750 tables, generated from the same two lists."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from benchmarks.contest import Report, Section
from benchmarks.ticks import measure_ticks
from extract.settings import ROOT

PARTS = (
    "benchmarks",
    "collector",
    "dbt_project",
    "extract",
    "macros",
    "serve",
    "sql",
    "tradehouse",
    "profiles.yml.example",
)
SYMBOLS = 50
MORE_TIMEFRAMES = {"M6": 6, "M10": 10, "M12": 12, "M20": 20, "H3": 180, "H6": 360}
"""Those of MetaTrader 5 that M5 bars can fill and the project does not have: 15 with its own nine."""


def measure_scale(directory: Path, days: int, rounds: int, report: Report) -> Section:
    """Generate the larger project in `directory` and measure its ticks."""
    root = directory / "project"
    report("generating the project")
    tables = generate_project(root)
    title = f"Scale: {tables} tables"
    section = measure_ticks(root, directory / "ticks", days=days, rounds=rounds, title=title, report=report)
    if section.figures["candle tables"] != str(tables):
        raise RuntimeError(f"measured {section.figures['candle tables']} tables instead of {tables}")
    return section


def generate_project(root: Path) -> int:
    """Copy the project to `root` with more symbols and timeframes; returns how many candle tables it has."""
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("target", "logs", "__pycache__"))
        else:
            shutil.copyfile(ROOT / part, root / part)
    config = root / "dbt_project" / "dbt_project.yml"
    content = yaml.safe_load(config.read_text(encoding="utf-8"))
    symbols, timeframes = content["vars"]["symbols"], content["vars"]["timeframes"]
    symbols += [f"market{number}" for number in range(len(symbols) + 1, SYMBOLS + 1)]
    timeframes |= MORE_TIMEFRAMES
    config.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    subprocess.run([sys.executable, root / "dbt_project" / "generate_models.py"], check=True, stdout=subprocess.DEVNULL)
    return len(symbols) * len(timeframes)
