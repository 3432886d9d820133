"""deploy/cutover.sh, smoke-test.sh and rollback.sh on a real warehouse; only systemctl is a script of the test's."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.world import ROOT, TRADEHOUSE, World

SYSTEMCTL = """\
#!/bin/sh
echo "$@" >> "{log}"
case "$*" in
    "start tradehouse-serve") exec "{tradehouse}" serve --background --port {port} ;;
    "stop tradehouse-serve") exec "{tradehouse}" serve --stop ;;
esac
"""


@pytest.fixture
def machine(world: World) -> Any:
    """The variables the scripts need; their systemctl starts the API in the background."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    commands = world.directory / "bin"
    commands.mkdir()
    text = SYSTEMCTL.format(log=world.directory / "systemctl.log", tradehouse=TRADEHOUSE, port=port)
    (commands / "systemctl").write_text(text)
    (commands / "systemctl").chmod(0o755)
    world.settings |= {
        "PATH": f"{commands}:{os.environ['PATH']}",
        "HOME": str(world.directory),
        "TRADEHOUSE": str(TRADEHOUSE),
        "API_ADDRESS": f"http://127.0.0.1:{port}",
        "NEW_SERVICES": "tradehouse-serve",
        "OLD_SERVICES": "old-sync",
        "TRADES": "no",
        "ACCOUNTS": "no",
    }
    world.settings["SQLITE_PATH"] = str(world.directory / "demo.db")
    made = world.run("demo-data", world.settings["SQLITE_PATH"], "--days", "10")
    assert made.returncode == 0, made.stderr
    yield world
    world.run("serve", "--stop")


def script(world: World, name: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "deploy" / name, *arguments],
        env={**world.environment, **variables},
        cwd=world.directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def started_and_stopped(world: World) -> list[str]:
    log = world.directory / "systemctl.log"
    return log.read_text().splitlines() if log.exists() else []


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.only_on("embedded")
def test_over_and_back(machine: World) -> None:
    world = machine
    checked = script(world, "cutover.sh", "--check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.endswith("checked; nothing was started or stopped\n")
    assert started_and_stopped(world) == []

    key = world.run("api-keys", "add", "cutover", "--tier", "ADMIN").stdout
    (secret,) = re.findall(r"tradehouse_\S+", key)
    over = script(world, "cutover.sh", API_KEY=secret)
    assert over.returncode == 0, over.stdout + over.stderr
    assert started_and_stopped(world) == ["start tradehouse-serve", "stop old-sync"]
    assert "FAILED" not in over.stdout
    assert "ok      200 /api/admin/tables/stats" in over.stdout
    assert "ok      200 /api/stream" in over.stdout
    assert secret not in over.stdout + over.stderr + (Path(world.home) / "serve.log").read_text()

    back = script(world, "rollback.sh", OLD_HEALTH=f"{world.settings['API_ADDRESS']}/health")
    assert back.returncode == 0, back.stdout + back.stderr
    assert started_and_stopped(world)[2:] == ["start old-sync", "stop tradehouse-serve"]
    assert world.run("serve", "--stop").stdout == "was not running\n"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.only_on("embedded")
def test_what_is_wrong_stops_it(machine: World) -> None:
    world = machine
    missing = script(world, "cutover.sh", SQLITE_PATH=str(world.directory / "nothing.db"))
    assert (missing.returncode, missing.stderr.splitlines()[-1]) == (1, "stopped: the SQLite file cannot be read")
    assert started_and_stopped(world) == []
    smoke = script(world, "smoke-test.sh", "http://127.0.0.1:9")
    assert smoke.returncode == 1
    assert "FAILED  000 (expected 200) /health" in smoke.stdout
    nowhere = script(world, "rollback.sh", OLD_SERVICES="")
    assert nowhere.returncode != 0
    assert "names the units to go back to" in nowhere.stderr
    assert started_and_stopped(world) == []
