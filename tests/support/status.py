"""`tradehouse status` as tests call it, and a file that is current."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from extract.settings import load_project
from tests.support.world import World

MONDAY = 1_736_121_600  # 2025-01-06 00:00 UTC
TIMEFRAMES = load_project().timeframes


def status(world: World, *arguments: str, code: int) -> dict[str, Any]:
    """The command's JSON; its exit code is demanded."""
    done = world.run("status", "--json", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    state: dict[str, Any] = json.loads(done.stdout)
    assert state["ok"] is (code == 0)
    return state


def printed(world: World, *arguments: str, code: int) -> str:
    """What the command prints for people; nothing of its tables is wider than 80 columns or cut off."""
    done = world.run("status", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr == ""
    tables = done.stdout.split("warehouse: ")[0]
    assert all(len(line.rstrip()) <= 80 and "…" not in line for line in tables.splitlines()), tables
    return done.stdout


def table(state: dict[str, Any], symbol: str, timeframe: str) -> dict[str, Any]:
    [found] = [each for each in state["tables"] if (each["symbol"], each["timeframe"]) == (symbol, timeframe)]
    return dict(found)


def verdicts(state: dict[str, Any], symbols: Iterable[str]) -> set[str]:
    return {each["status"] for each in state["tables"] if each["symbol"] in symbols}


def demo_file(world: World) -> Path:
    """A sample file that ends now, as `make demo` writes it, in place of the world's own."""
    path = world.directory / "demo.db"
    done = world.run("demo-data", str(path), "--days", "6")
    assert done.returncode == 0, done.stderr
    world.settings["SQLITE_PATH"] = str(path)
    return path
