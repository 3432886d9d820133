"""The network between pipeline and Postgres: closed, reset and stalled after any number of bytes."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.proxy import Fault, Proxy
from tests.support.services import NO_TESTS, await_that, service
from tests.support.trading import Market
from tests.support.world import World

SEED = 20_250_108


@pytest.fixture
def proxied(small_world: World) -> Iterator[tuple[World, Proxy, Market]]:
    """A world whose pipeline, but not whose test, reaches the server through the proxy."""
    market = Market(small_world, SEED)
    with Proxy(small_world.uri) as proxy:
        small_world.settings["POSTGRESQL_URI"] = proxy.uri
        yield small_world, proxy, market


def direct(world: World) -> None:
    """Take the proxy out of the way, then make everything good with one plain run."""
    del world.settings["POSTGRESQL_URI"]
    world.sync_and_check()


def clear_error(printed: str) -> bool:
    """Whether a failed run said in one line what happened."""
    lines = [line for line in printed.splitlines() if line.startswith("error: ")]
    return "Traceback" not in printed and len(lines) == 1 and len(lines[0]) < 500


def test_a_sync_cut_after_any_number_of_bytes(proxied: tuple[World, Proxy, Market]) -> None:
    world, proxy, market = proxied
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    world.sync()
    market.move()
    before = proxy.forwarded
    world.sync()
    life = proxy.forwarded - before
    # the first bytes are the hand-shakes, whose failure is another code path than that of statements
    counts = [1, 300, 2_000] + [chance.randrange(life) for _ in range(7)]
    for place, count in enumerate(counts):
        market.move()
        struck = proxy.struck
        proxy.fail_after(count, "reset" if place % 2 else "close")
        done = world.run("sync")
        proxy.mend()
        printed = done.stdout + done.stderr
        assert proxy.struck == struck + 1, f"the run was over after {count} bytes"
        if done.returncode == 1:  # dbt met the fault: the model it struck is named
            assert "failed: " in printed
        else:
            assert (done.returncode, clear_error(printed)) == (2, True), f"after {count} of {life} bytes: {printed}"
        market.check_nothing_is_half_done()
    direct(world)


@pytest.mark.only_on("debian")
def test_a_service_lives_through_cuts_resets_and_stalls(proxied: tuple[World, Proxy, Market]) -> None:
    world, proxy, market = proxied
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    with service(world, *NO_TESTS) as running:
        running.await_ticks(seconds=120)
        before = proxy.forwarded
        market.move()
        running.await_ticks(2)
        tick = (proxy.forwarded - before) // 2
        faults: tuple[Fault, ...] = ("close", "reset", "stall")
        for place in range(12):
            market.move()
            struck, fault = proxy.struck, faults[place % 3]
            proxy.fail_after(chance.randrange(tick), fault)
            running.await_that(lambda struck=struck: proxy.struck > struck, fault)  # type: ignore[misc]
            if fault == "stall":
                ticks = running.log.count(" rows read, ")
                # half of the stalls end by themselves, the others with a reset
                if place % 2:
                    proxy.reset()
                proxy.mend()
                running.await_log(" rows read, ", times=ticks + 1)
            market.check_nothing_is_half_done()
        running.await_ticks(2)
        assert running.end() == 0
    direct(world)


@pytest.mark.only_on("embedded")
def test_a_server_that_accepts_and_never_answers(proxied: tuple[World, Proxy, Market]) -> None:
    world, proxy, _ = proxied
    proxy.fail_after(0, "stall")
    done = world.run("sync")
    assert (done.returncode, clear_error(done.stderr)) == (2, True), done.stderr
    assert "timeout expired" in done.stderr
    proxy.mend()
    direct(world)


@pytest.mark.only_on("embedded")
def test_a_run_that_stalls_and_is_reset_leaves_no_lock(proxied: tuple[World, Proxy, Market]) -> None:
    world, proxy, market = proxied
    world.sync()
    market.move()
    proxy.fail_after(12_000, "stall")
    run = world.start("sync")
    await_that(lambda: proxy.struck == 1, "stall")
    # the run waits for an answer and holds the lock; another one does not wait for it
    by_proxy = world.settings.pop("POSTGRESQL_URI")
    assert "another run of mt5 holds the lock" in world.sync()
    world.settings["POSTGRESQL_URI"] = by_proxy
    proxy.reset()
    printed = run.communicate(timeout=60)[0]
    assert (run.returncode, clear_error(printed)) == (2, True), printed
    proxy.mend()
    direct(world)


HANGING = """
import os, socket, sys
from pathlib import Path
from extract.process_control import starting_anew_after

print("begun by", os.getpid(), sys.argv[1:], flush=True)
silent = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
with starting_anew_after(1):
    if not Path(sys.argv[2]).exists():
        Path(sys.argv[2]).touch()
        silent.recv(1)
print("ended", flush=True)
"""


def test_a_tick_that_hangs_on_a_silent_peer_starts_the_program_anew(tmp_path: Path) -> None:
    script = tmp_path / "hanging.py"
    script.write_text(HANGING)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        arguments = [str(listener.getsockname()[1]), str(tmp_path / "hung")]
        done = subprocess.run(
            [sys.executable, script, *arguments], capture_output=True, text=True, check=True, timeout=60
        )
    first, second, end = done.stdout.splitlines()
    assert first == second  # the same process, the same arguments
    assert end == "ended"


WITH_DBT = """
import sys, time
from pathlib import Path
from extract.dbt_runner import Dbt
from extract.process_control import starting_anew_after
from extract.settings import load_settings
from extract.warehouse import open_warehouse

def variables(pid):
    lines = Path(f"/proc/{pid}/environ").read_text().split("\\0")
    return {line.split("=")[0] for line in lines if line.startswith("PG")}

print(sorted(variables("self")), flush=True)
settings = load_settings()
if not Path(sys.argv[1]).exists():
    Path(sys.argv[1]).touch()
    with starting_anew_after(3):
        process = Dbt(settings, open_warehouse(settings), "mt5").start("build")
        while not variables(process._process.pid):
            time.sleep(0.01)  # the new program is being loaded
        print("PGPASSWORD" in variables(process._process.pid), flush=True)
        time.sleep(60)
"""


@pytest.mark.only_on("debian")
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")
def test_a_program_that_starts_anew_has_no_password_of_dbt_in_its_environment(small_world: World) -> None:
    world = small_world
    script = world.directory / "with_dbt.py"
    script.write_text(WITH_DBT)
    done = subprocess.run(
        [sys.executable, script, world.directory / "begun"],
        env={"PATH": os.environ["PATH"], **world.environment},
        cwd=world.directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    # before; dbt's own; after the restart
    assert done.stdout.splitlines() == ["[]", "True", "[]"], done.stderr
