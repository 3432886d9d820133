"""`tradehouse query` as tests call it."""

from __future__ import annotations

import json
import subprocess
from typing import Any
from urllib.parse import quote

from tests.support.servers import DEBIAN_PASSWORD
from tests.support.world import TRADEHOUSE, World, clean_environment

MONDAY = 1_736_121_600  # 2025-01-06 00:00 UTC


def rows(world: World, sql: str) -> list[dict[str, Any]]:
    """Rows of a query, as its JSON gives them."""
    done = world.run("query", sql, "--format", "json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def refusal(world: World, *arguments: str, code: int = 2) -> str:
    """The one line a query that cannot run ends with."""
    done = world.run("query", *arguments)
    printed = done.stdout + done.stderr
    assert done.returncode == code, printed
    assert done.stdout == ""
    assert "Traceback" not in printed
    for secret in (DEBIAN_PASSWORD, quote(DEBIAN_PASSWORD, safe="")):
        assert secret not in printed
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def piped(world: World, text: str) -> subprocess.CompletedProcess[str]:
    """The shell with its input from a pipe."""
    return subprocess.run(
        [TRADEHOUSE, "shell"],
        env=clean_environment(world.directory, world.environment),
        cwd=world.directory,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
