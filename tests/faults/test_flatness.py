"""Tick after tick in one process: nothing countable may pile up (a whole day: benchmarks/endurance.py)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.world import ROOT


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads /proc")
def test_sixty_ticks_leave_no_descriptor_and_no_catalog_row_behind(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.endurance",
            "--ticks",
            "60",
            "--warm-up",
            "20",
            "--days",
            "2",
            "--counts-only",
        ],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "descriptors" in done.stdout
