"""kill -9 of Postgres in the middle of ticks, and a server that comes back."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.conftest import SMALL_CAP, Server
from tests.support.collector import Collector
from tests.support.services import NO_TESTS, RunningService, service
from tests.support.trading import Market
from tests.support.world import World

SEED = 20_250_107
KILLS = 4


def await_work(running: RunningService, chance: random.Random) -> None:
    """Wait for a random moment of a tick that has something to do."""
    running.await_ticks()
    time.sleep(chance.uniform(0, 1.5))  # a tick a second: any moment of it, and of the pause


def test_an_embedded_server_is_started_again_whenever_it_is_killed(tmp_path: Path) -> None:
    home, chance = tmp_path / "home", random.Random(SEED)
    print(f"seed {SEED}")
    with Collector(tmp_path / "trading_data.db") as collector:
        collector.create()
        world = World(tmp_path, home, "embedded", collector, SMALL_CAP)
        market = Market(world, SEED)
        try:
            with service(world, *NO_TESTS) as running:
                running.await_ticks(seconds=120)
                world.uri = world.run("warehouse", "uri").stdout.strip()
                for _ in range(KILLS):
                    market.move()
                    await_work(running, chance)
                    market.move()
                    os.kill(int((home / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
                    running.await_ticks(2)
                    market.check_nothing_is_half_done()
                assert running.end() == 0
            world.sync_and_check()
        finally:
            world.uri = "embedded"
            world.run("warehouse", "stop")


@pytest.mark.only_on("debian")
def test_a_given_server_is_found_again_whenever_it_is_back(small_world: World, server: Server) -> None:
    world, chance = small_world, random.Random(SEED)
    print(f"seed {SEED}")
    market = Market(world, SEED)
    with service(world, *NO_TESTS) as running:
        running.await_ticks(seconds=120)
        for _ in range(KILLS):
            market.move()
            await_work(running, chance)
            market.move()
            server.kill()
            running.await_log("run: ", times=running.log.count("run: ") + 1)
            server.start_again()
            running.await_ticks(2)
            market.check_nothing_is_half_done()
        assert running.end() == 0
    world.sync_and_check()


@pytest.mark.only_on("embedded")
def test_a_crashed_backend_takes_every_session_along(small_world: World) -> None:
    world, chance = small_world, random.Random(SEED)
    market = Market(world, SEED)
    with service(world, *NO_TESTS) as running:
        running.await_ticks(seconds=120)
        for _ in range(KILLS):
            market.move()
            await_work(running, chance)
            # Postgres restarts all of itself when one of its processes dies
            ((crashed,),) = world.query("select pid from pg_stat_activity where backend_type = 'checkpointer'")
            os.kill(crashed, signal.SIGKILL)
            running.await_ticks(2)
            market.check_nothing_is_half_done()
        assert running.end() == 0
    world.sync_and_check()
