"""The Makefile's recipes where a newcomer may try them: a path with a blank, and the short PATH of cron."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.servers import let_others_through
from tests.support.world import ROOT


@pytest.mark.skipif(not shutil.which("make", path="/usr/bin:/bin"), reason="make is not installed")
def test_the_demo_in_a_path_with_a_blank_and_the_path_of_cron(tmp_path: Path) -> None:
    clone = tmp_path / "my projects" / "trade house"
    clone.mkdir(parents=True)
    let_others_through(clone)
    (clone / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    (clone / ".venv").symlink_to(sys.prefix)  # as set up: make is told that it is
    demo = clone / ".tradehouse" / "demo"
    tradehouse = clone / ".venv" / "bin" / "tradehouse"

    def run(*command: str | Path, directory: Path = clone) -> str:
        clean = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        done = subprocess.run(
            command, env=clean, cwd=directory, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    try:
        printed = run("make", "--assume-old", ".venv/ready", "demo")
        assert "bars of 15 symbols" in printed
        assert "all 135 tables are current" in printed or "Behind, for the sample ends" in printed
        (advice,) = re.findall(r"^  (psql .*;')$", printed, re.MULTILINE)
        if shutil.which("psql", path="/usr/bin:/bin"):
            assert re.search(r"^ +[1-9][0-9]+$", run("sh", "-c", advice), re.MULTILINE)
        (address,) = re.findall(r"HTTP API: (http\S+)$", printed, re.MULTILINE)
        (page,) = re.findall(r"^Charts: (http\S+)", printed, re.MULTILINE)
        with urlopen(page, timeout=30) as answer:
            assert b'data-testid="trading-chart"' in answer.read()
        with urlopen(address, timeout=30) as answer:
            assert len(json.load(answer)["data"]["ohlc"]) > 500
        # a second one is not started
        assert address.startswith(run(tradehouse, "serve", "--background", directory=demo).strip() + "/api/")
    finally:
        assert run(tradehouse, "serve", "--stop", directory=demo) == "stopped\n"
        assert run(tradehouse, "serve", "--stop", directory=demo) == "was not running\n"
        assert run(tradehouse, "warehouse", "stop", directory=demo) == "stopped\n"
