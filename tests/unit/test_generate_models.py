"""The generated models are what the generator writes, and its check notices when they are not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2] / "dbt_project"


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, project / "generate_models.py", *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PROJECT, tmp_path / "dbt_project", ignore=shutil.ignore_patterns("target", "logs")))


def test_the_committed_files_are_current() -> None:
    done = run(PROJECT, "--check")
    assert (done.returncode, done.stderr) == (0, "")


def test_stale_missing_and_left_over_files_are_named_and_mended(copy: Path) -> None:
    candles = copy / "models" / "marts" / "candles"
    (candles / "eurusd" / "eurusd_h1.sql").write_text("select 1")
    (candles / "eurusd" / "eurusd_h2.sql").unlink()
    (candles / "eurusd" / "eurusd_w1.sql").write_text("select 1")
    done = run(copy, "--check")
    assert done.returncode == 1
    assert sorted(done.stderr.splitlines()) == [
        "left over: models/marts/candles/eurusd/eurusd_w1.sql",
        "missing: models/marts/candles/eurusd/eurusd_h2.sql",
        "stale: models/marts/candles/eurusd/eurusd_h1.sql",
    ]
    assert run(copy).returncode == 0
    assert run(copy, "--check").returncode == 0


def test_a_symbol_and_a_timeframe_are_one_line_each(copy: Path) -> None:
    config = copy / "dbt_project.yml"
    text = config.read_text()
    config.write_text(
        text.replace("    - xauusd\n", "    - xauusd\n    - us500\n").replace("D1: 1440}", "D1: 1440, M1: 1}")
    )
    assert run(copy).stdout.startswith("178 generated files")  # 16 symbols x (10 tables + 1 view) + 2
    assert "timeframe='M1'" in (copy / "models" / "marts" / "candles" / "us500" / "us500_m1.sql").read_text()
