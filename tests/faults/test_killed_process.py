"""kill -9 of the pipeline at any moment, and a run that loses its lock."""

from __future__ import annotations

import random
import subprocess
import time
from contextlib import suppress

import pytest

from tests.support.launcher import Forked
from tests.support.services import await_no_sessions
from tests.support.trading import Market
from tests.support.world import World

SEED = 20_250_106
MOMENTS = 100
# a transaction that has written something; small batches land in the run's own session, others in DuckDB's
WRITING = {
    "landing": "backend_xid is not null and application_name <> 'tradehouse dbt'",
    "building": "backend_xid is not null and application_name = 'tradehouse dbt'",
}


def await_writing(world: World, process: Forked, phase: str) -> None:
    """Wait for a transaction of the phase that has begun to write."""
    deadline = time.monotonic() + 60
    with world.connection() as connection, connection.cursor() as cursor:
        connection.autocommit = True  # pg_stat_activity is one snapshot a transaction
        while True:
            cursor.execute(f"select exists (select from pg_stat_activity where {WRITING[phase]})")
            if cursor.fetchone() == (True,):
                return
            assert process.poll() is None, f"the run ended before it was seen {phase}"
            assert time.monotonic() < deadline


def end_well(world: World) -> None:
    """One plain run makes everything good: equal tables, and no record left open."""
    world.sync_and_check()
    assert world.query("select count(*) from ops.sync_runs where finished_at is null or status = 'running'") == [(0,)]


@pytest.mark.only_on("embedded")
def test_killed_at_a_hundred_random_moments(small_world: World) -> None:
    world = small_world
    market, chance = Market(world, SEED), random.Random(SEED)
    world.sync_and_check()
    market.move()
    world.execute("update ops.sync_runs set status = 'interrupted'")  # as after a kill: all tables are built
    began = time.monotonic()
    world.sync()
    life = time.monotonic() - began
    world.check()
    print(f"seed {SEED}, a run takes {life:.1f} s")
    for moment in range(MOMENTS):
        market.move()
        process = world.start("sync")
        # its first third is Python's: two of three moments lie behind that, the third anywhere
        delay = chance.uniform(life / 3 if moment % 3 else 0, life)
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=delay)
        process.kill()
        process.communicate()
        await_no_sessions(world)
        market.check_nothing_is_half_done()
        assert world.query("select count(*) <= 1 from ops.sync_runs where status = 'running'") == [(True,)]
    end_well(world)
    ((interrupted,),) = world.query("select count(*) from ops.sync_runs where status = 'interrupted'")
    assert interrupted > MOMENTS / 4, "too few of the moments hit a run at work"


@pytest.mark.only_on("embedded")
@pytest.mark.parametrize("phase", list(WRITING))
def test_killed_while_a_transaction_is_open(small_world: World, phase: str) -> None:
    world = small_world
    market, chance = Market(world, SEED), random.Random(SEED)
    world.sync_and_check()
    for _ in range(5):
        market.move()
        if phase == "building":  # by dbt, as where the project has changed: refreshing is the run's own session's work
            world.execute(
                "update ops.sync_runs set project_fingerprint = 'another' where project_fingerprint is not null"
            )
        process = world.start("sync")
        await_writing(world, process, phase)
        time.sleep(chance.uniform(0, 0.02))
        process.kill()
        process.communicate()
        await_no_sessions(world)
        market.check_nothing_is_half_done()
    end_well(world)
