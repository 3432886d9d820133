"""Runs of the MT5 accounts: the register, batches and budget, retention, the service, and being killed."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from extract.warehouse import lock_key
from tests.support.accounts_world import AccountsWorld
from tests.support.fake_mt5 import KEY, info, position, trade
from tests.support.services import service
from tests.support.world import TRADEHOUSE

embedded_only = pytest.mark.only_on("embedded")


@embedded_only
def test_no_accounts_and_no_settings(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    assert "no account is registered" in world.accounts("list")
    summary = json.loads(world.accounts("sync", "--json"))
    assert (summary["success"], summary["totalAccounts"], summary["syncResults"]) == (True, 0, [])
    assert "no account is active" in world.accounts("sync")
    runs = world.query("select count(*) from ops.sync_runs")
    world.settings |= {"MT5_SERVICE_URL": "", "MT5_SERVICE_API_KEY": ""}
    assert "MT5_SERVICE_URL and MT5_SERVICE_API_KEY are not set" in world.accounts("sync", code=2)
    assert "MT5_SERVICE_URL and MT5_SERVICE_API_KEY are not set" in world.accounts("run", code=2)
    world.settings |= {"MT5_SERVICE_URL": "http://mt5.internal:8000", "MT5_SERVICE_API_KEY": "x"}
    assert "MT5_SERVICE_ALLOW_HTTP=true" in world.accounts("sync", code=2)
    assert world.query("select count(*) from ops.sync_runs") == runs
    world.settings["POSTGRESQL_URI"] = "postgresql://nobody@127.0.0.1:1/nowhere"
    world.settings["MT5_SERVICE_ALLOW_HTTP"] = "true"
    assert "cannot connect to Postgres" in world.accounts("sync", code=2)


@embedded_only
def test_the_register(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    assert "registered" in world.accounts("add", "a/1 ü", "--login", "5012345", "--broker", "Some Broker")
    world.accounts("add", "b")
    world.fake.account("a/1 ü", info(1), [position(1)], [])
    world.fake.account("b", info(2), [], [])
    assert {name: result["status"] for name, result in world.poll().items()} == {"a/1 ü": "success", "b": "success"}
    assert "deactivated" in world.accounts("deactivate", "b")
    assert list(world.poll()) == ["a/1 ü"]
    assert "c is not registered" in world.accounts("deactivate", "c", code=2)
    assert "known already; it is active" in world.accounts("add", "b", "--broker", "Other")
    found = {each["id"]: each for each in json.loads(world.accounts("list", "--json"))}
    assert found["a/1 ü"]["login_number"] == 5012345
    assert (found["b"]["broker_name"], found["b"]["is_active"], found["b"]["last_status"]) == ("Other", True, "success")
    assert "Some Broker" in world.accounts("list")
    assert "it answered in" in world.accounts("test")


@embedded_only
def test_accounts_are_polled_in_batches(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    names = [f"{number:03d}" for number in range(25)]
    world.register(*names)
    world.fake.generate(names, 2, 3)
    world.fake.treat(delay=0.2)
    result = world.poll()
    assert list(result) == names
    assert {each["status"] for each in result.values()} == {"success"}
    assert len(world.fake.requests()) == 75
    assert 20 < world.fake.most_at_once <= 30  # ten accounts, three endpoints each
    assert world.query("select count(*) from accounts.trades") == [(125,)]


@embedded_only
def test_a_slow_service_and_a_budget(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    names = [f"{number:03d}" for number in range(300)]
    world.register(*names)
    world.fake.generate(names, 1, 1)
    world.fake.treat(delay=0.4)
    world.settings["MT5_SYNC_BUDGET_SECONDS"] = "3"
    polled: list[str] = []
    for _ in range(2):
        began = time.monotonic()
        result = world.poll(code=1)
        assert len(result) == 300
        done = [name for name, each in result.items() if each["status"] == "success"]
        skipped = [each for each in result.values() if each["status"] == "skipped"]
        assert len(done) + len(skipped) == 300
        assert 0 < len(done) < 100
        assert all("budget of 3 s" in each["error_message"] for each in skipped)
        assert not set(polled) & set(done), "what was skipped comes first"
        assert done == names[len(polled) : len(polled) + len(done)]
        polled += done
        assert time.monotonic() - began < 30  # 12 s for all of them, and then some for dbt
    assert world.query("select count(*) from accounts.trading_accounts") == [(len(polled),)]


@embedded_only
def test_increments_equal_a_full_refresh_and_repeats_change_nothing(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    names = ["a", "b", "c"]
    world.register(*names)
    world.fake.generate(names, 5, 20)
    world.poll()
    world.fake.account("b", positions=[position(2), position(9, volume=0.1)], history=[trade(3), trade(5)])
    world.fake.treat("c", "positions", status=500)
    world.poll(code=1)
    world.fake.treat("c", "positions")
    world.poll()
    state = "select to_jsonb(t), xmin::text from accounts.trades as t order by account_id, ticket"
    before = world.query(state)
    world.poll()
    assert world.query(state) == before
    done = world.dbt("build", "--full-refresh", "--select", "tag:accounts")
    assert done.returncode == 0, done.stdout
    assert world.query(state) == before


@embedded_only
def test_old_results_go_and_the_last_success_stays(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    world.register("a", "b")
    world.fake.account("a", info(1000), [], [])
    world.execute(
        "insert into staging.mt5_sync_results"
        " select run, account, 'manual', now() - age, now() - age, status, 0, null, now() - age from (values"
        " (-4, 'a', 'success', interval '50 days'), (-3, 'b', 'success', '50 days'), (-2, 'b', 'success', '40 days'),"
        " (-1, 'b', 'failed', '31 days'), (0, 'b', 'failed', '29 days')) as old (run, account, status, age)"
    )
    world.execute("alter table ops.sync_runs alter column run_id restart with 100")
    world.poll(code=1)
    assert world.query("select account_id, run_id from accounts.sync_logs order by 1, 2") == [
        *[("a", -4), ("a", 100), ("b", -2), ("b", 0), ("b", 100)],
    ]
    [(failures, days)] = world.query(
        "select sync_failure_count, extract(day from now() - last_successful_sync_at) from accounts.trading_accounts"
        " where account_id = 'b'"
    )
    assert (failures, days) == (2, 40)


@embedded_only
def test_the_service_says_once_what_is_wrong_and_when_it_no_longer_is(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    world.register("a", "b")
    for account in "ab":
        world.fake.account(account, info(1000), [position(1)], [])
    with service(world, group=("accounts",), program=(TRADEHOUSE,)) as running:
        running.await_log("tests passed")
        world.fake.treat("b", status=500)
        running.await_log("account b: ")
        running.await_log(", 1 failed", times=3)
        world.fake.treat("b")
        running.await_log("account b: cleared")
        environment = Path(f"/proc/{running.process.pid}/cmdline").read_bytes()
        assert KEY.encode() not in environment
        assert running.end() == 0
    assert running.log.count("ERROR account b: ") == 1
    assert running.log.rstrip().endswith("stopped")
    assert KEY not in running.log
    assert not any(KEY in request for request in world.fake.requests())
    assert world.query("select distinct sync_type from accounts.sync_logs") == [("scheduled",)]


@embedded_only
def test_killed_at_any_moment_and_run_twice_at_once(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    served: dict[str, dict[str, Any]] = {
        name: {"info": info(100), "positions": [], "history": []} for name in ("a", "b", "c")
    }
    world.register(*served)
    for name, content in served.items():
        world.fake.account(name, **content)
    world.poll()
    world.fake.treat(delay=0.05)
    as_after_a_kill = "update ops.sync_runs set status = 'interrupted', finished_at = now()"  # all tables are refreshed
    world.execute(as_after_a_kill)
    world.poll()
    [(work,)] = world.query(
        "select extract(epoch from finished_at - started_at)::float from ops.sync_runs order by run_id desc limit 1"
    )
    at_work = "select count(*) from ops.sync_runs where status = 'running'"
    killed_at_work = 0
    for moment in range(20):
        world.execute(as_after_a_kill)
        for number, (name, content) in enumerate(served.items()):
            content["info"] = info(100 + moment)
            content["positions"] = [*content["positions"], position(moment, profit=moment + number)]
            if moment % 3 == number and len(content["positions"]) > 2:
                gone = content["positions"].pop(0)
                content["history"] = [*content["history"], trade(gone["ticket"], profit=moment)]
            world.fake.account(name, **content)
        process = world.start("accounts", "sync")
        while world.query(at_work) == [(0,)] and process.poll() is None:
            time.sleep(0.01)
        try:
            process.wait(timeout=work * moment / 20)
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        killed_at_work += world.query(at_work)[0][0]
    with world.connection() as connection, connection.cursor() as cursor:
        cursor.execute("select pg_advisory_lock(%s)", (lock_key("accounts"),))
        summary = json.loads(world.accounts("sync", "--json"))
        assert (summary["success"], summary["skipped"]) == (True, True)
        assert "another run of accounts holds the lock" in summary["message"]
    runs = [world.start("accounts", "sync") for _ in range(2)]
    printed = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], printed
    world.poll()
    world.check_against(served)
    assert killed_at_work > 10, "too few of the moments hit a run at work"
