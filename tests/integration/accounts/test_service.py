"""What concerns the API as a whole, and many accounts with a fault each."""

from __future__ import annotations

import json
import random
import sys
import time
from typing import Any

import psycopg2
import pytest

from tests.support.accounts_world import AccountsWorld
from tests.support.fake_mt5 import info, position, trade
from tests.support.mt5_items import deal, operation
from tests.support.services import service

pytestmark = pytest.mark.only_on("embedded")

MIB = 1 << 20


def some_accounts(world: AccountsWorld, count: int) -> list[str]:
    names = [f"{number:03d}" for number in range(count)]
    world.register(*names)
    for name in names:
        world.fake.account(name, info(1000), [position(1)], [trade(9)])
    return names


def test_what_concerns_the_service_ends_the_run_once(accounts_world: AccountsWorld) -> None:
    """A wrong key, a service that is down: one line, exit code 2, and nothing that counts against an account."""
    world = accounts_world
    names = some_accounts(world, 25)
    world.poll()
    world.fake.requests()
    standings = (
        "select account_id, sync_failure_count, last_connection_error, last_sync_at from accounts.trading_accounts"
    )
    before = world.query(f"{standings} order by 1")
    results = "select count(*) from staging.mt5_sync_results"
    [(recorded,)] = world.query(results)

    world.settings["MT5_SERVICE_API_KEY"] = "wrong"
    assert world.accounts("sync", code=2).count("does not accept MT5_SERVICE_API_KEY (HTTP 401)") == 1
    assert len(world.fake.requests()) <= 31, "one batch, and the question whether it is well"
    world.settings["MT5_SERVICE_URL"] = "http://127.0.0.1:1"
    done = world.call("accounts", "sync", "--json", code=2)
    said = json.loads(done.stdout)
    assert said["success"] is False
    assert said["error"].startswith("http://127.0.0.1:1 does not answer: ")
    assert done.stderr.count("does not answer") == 1
    assert world.query(results) == [(recorded,)]
    assert world.query(f"{standings} order by 1") == before
    assert world.query("select status from ops.sync_runs order by run_id desc limit 2") == [("failed",), ("failed",)]

    # with some accounts read before, their rows stay, and the run is partial
    world.settings.clear()
    for name in names[10:]:
        world.fake.treat(name, hang_up=True)
    world.fake.treat("", "/health", status=503)
    world.fake.account(names[0], info(7))
    result = world.poll(code=1)
    assert {each["status"] for each in result.values()} == {"success", "failed"}, (
        "a connection that breaks is no outage"
    )
    assert world.standing(names[0])[0] == 7
    # one account whose key is refused is that account's own fault
    world.fake.treat("", "/health")
    for name in names:
        world.fake.treat(name)
    world.fake.treat(names[24], status=401)
    assert [name for name, each in world.poll(code=1).items() if each["status"] != "success"] == [names[24]]


def test_settings_of_the_service(accounts_world: AccountsWorld) -> None:
    """One request at a time, at a pace; a token beside the key; and what a bad value says."""
    world = accounts_world
    some_accounts(world, 3)
    world.settings |= {"MT5_SERVICE_CONCURRENCY": "1", "MT5_SERVICE_TOKEN": "tOkEnNobodyMaySee"}
    world.poll()
    assert world.fake.most_at_once == 1
    asked = world.fake.requests()
    assert [request.split("/")[4] for request in asked] == ["000"] * 3 + ["001"] * 3 + ["002"] * 3
    assert set(world.fake.authorizations()) == {"Bearer tOkEnNobodyMaySee"}
    world.settings |= {"MT5_SERVICE_CONCURRENCY": "30", "MT5_SERVICE_REQUESTS_PER_MINUTE": "300"}
    began = time.monotonic()
    world.poll()
    assert time.monotonic() - began > 8 * 0.2  # nine requests, 0.2 s apart
    for name, bad, words in (
        ("MT5_SERVICE_URL", "http://host:abc", "expected an address"),
        ("MT5_SERVICE_URL", "https://host\n", "expected an address"),
        ("MT5_SERVICE_CONCURRENCY", "0", "greater than or equal to 1"),
        ("MT5_SERVICE_CA_FILE", "nowhere.pem", "there is no file nowhere.pem"),
    ):
        kept, world.settings[name] = world.settings.get(name, ""), bad
        said = world.call("accounts", "sync", "--json", code=2)
        assert name in json.loads(said.stdout)["error"]
        assert words in said.stderr
        world.settings[name] = kept
        if not kept:
            del world.settings[name]
    (world.directory / "no.pem").write_text("nothing")
    world.settings["MT5_SERVICE_CA_FILE"] = str(world.directory / "no.pem")
    assert "cannot be used as certificates" in world.accounts("sync", code=2)


def test_small_pages_are_read_run_by_run(accounts_world: AccountsWorld) -> None:
    world, now = accounts_world, time.time()
    world.register("a")
    world.fake.account("a", info(1), [], [trade(number, now - 60 * number) for number in range(1, 251)])
    world.fake.treat("a", "history", page=2)  # a hundred pages a run
    assert "200 trades have been read, and the next sync goes on" in world.poll(code=1)["a"]["error_message"]
    assert world.query("select count(*) from accounts.trades") == [(200,)]
    world.poll()
    assert world.query("select count(*) from accounts.trades") == [(250,)]
    offsets = [int(request.rsplit("=", 1)[1]) for request in world.fake.requests() if "history" in request]
    assert offsets == list(range(0, 250, 2))
    assert world.query(
        "select history_offset, history_until > now() - interval '1 minute' from staging.mt5_account_marks"
    ) == [(None, True)]


def test_a_hanging_account_does_not_head_every_run(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    some_accounts(world, 12)
    world.fake.treat("000", delay=30)
    world.settings["MT5_SYNC_BUDGET_SECONDS"] = "2"
    first = world.poll(code=1)
    assert next(iter(first)) == "000"
    assert first["000"]["status"] == "skipped"
    assert first["011"]["status"] == "skipped"
    second = world.poll(code=1)
    assert list(second)[:2] == ["010", "011"], "those that had no turn go first"
    assert second["011"]["status"] == "success"


def test_the_register_shows_in_the_tables_and_a_run_in_the_log(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    world.accounts("add", "a", "--login", "5012345", "--broker", "Some Broker")
    world.fake.account("a", info(1000), [position(1)], [trade(9)])
    world.poll()
    assert world.query("select id, login_number, broker_name, is_active from accounts.trading_accounts") == [
        ("a", 5012345, "Some Broker", True)
    ]
    world.accounts("add", "a", "--broker", "Other")
    world.accounts("deactivate", "a")
    world.poll()
    assert world.query("select broker_name, is_active from accounts.trading_accounts") == [("Other", False)]
    with service(world, group=("accounts",)) as running:
        world.accounts("add", "a")
        running.await_log("batch 1 of 1: 1 accounts in ")
        assert running.end() == 0
    [(execution,)] = world.query("select execution_id::text from accounts.sync_logs order by run_id desc limit 1")
    assert f"execution {execution}: batch 1 of 1" in running.log


def test_status_removal_and_a_test_of_the_key(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    some_accounts(world, 2)
    assert "all accounts are current" in world.accounts("status")
    world.execute("update accounts.registered_accounts set created_at = now() - interval '16 minutes'")
    world.fake.treat("001", status=500)
    world.poll(code=1)
    assert "001: never read whole; " in world.accounts("status", code=1)
    found = json.loads(world.accounts("status", "--json", code=1))
    assert (found["ok"], [each["account_id"] for each in found["stale"]]) == (False, ["001"])
    assert "! account 001 stale: not read whole for too long" in world.call("status", code=1).stdout
    world.execute("update accounts.trading_accounts set last_successful_sync_at = now() - interval '14 minutes'")
    world.accounts("status")
    for bad in (".", "..", " "):
        assert "expected the id" in world.accounts("add", bad, code=2)
        with pytest.raises(psycopg2.errors.CheckViolation):
            world.execute(f"insert into accounts.registered_accounts (id) values ('{bad}')")
    with pytest.raises(psycopg2.errors.CheckViolation):
        world.execute("update accounts.registered_accounts set server_utc_offset = '2'")

    assert "it accepts the key" in world.accounts("test")
    assert "it gives the info of account 000" in world.accounts("test", "000")
    assert "ACCOUNT_NOT_FOUND" in world.accounts("test", "nobody", code=2)
    world.fake.treat("", "/health", body='{"status": "degraded", "terminal": "down"}')
    assert '/health says: {"status": "degraded"' in world.accounts("test", code=2)
    world.fake.treat("", "/health")
    world.settings["MT5_SERVICE_API_KEY"] = "wrong"
    assert "does not accept MT5_SERVICE_API_KEY" in world.accounts("test", code=2)
    world.settings.clear()

    world.fake.treat("001")
    world.fake.account("001", positions=[position(1, volume="x")])
    world.poll(code=1)
    tables = world.query(
        "select c.oid::regclass::text, a.attname from pg_class as c join pg_namespace as n on n.oid = relnamespace"
        " join pg_attribute as a on attrelid = c.oid where nspname in ('staging', 'accounts', 'ops')"
        " and c.relkind = 'r' and attname in ('account_id', 'entity', 'id', 'trouble', 'error')"
    )
    mentions = " union all ".join(f"select '{t}' from {t} where {column}::text like '%001%'" for t, column in tables)
    assert len(world.query(mentions)) > 8
    assert "removed, with " in world.accounts("remove", "001")
    assert world.query(mentions) == []
    assert "not registered" in world.accounts("remove", "001", code=2)
    assert list(world.poll()) == ["000"]


FAULTS: tuple[dict[str, Any], ...] = (
    {"status": 500},
    {"hang_up": True},
    {"cut": True},
    {"blanks": 256 * MIB, "encodings": ["gzip"]},
    {"blanks": 8 * MIB, "encodings": ["gzip", "gzip"]},
    {"flood": 64 * MIB},
    {"status": 429, "headers": {"Retry-After": "600"}},
    {"body": '{"success": true, "data": [], "positions": [null, null], "trades": 7}'},
    {"body": "<html>"},
    {"endless": 7},
)
SLOW: tuple[dict[str, Any], ...] = ({"dribble": "headers"}, {"dribble": "body"}, {"delay": 120})
"""What a whole account, or one endpoint of it, may be afflicted with."""
MEASURED = (
    sys.executable,
    "-c",
    "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]);"
    " print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, 'kB at most'); sys.exit(code)",
)
"""Prints the peak of a program's memory after it has run."""
HASTY = (
    sys.executable,
    "-c",
    "import dataclasses, runpy, sys; from extract.sources.accounts import source;"
    " source.BOUNDS = dataclasses.replace(source.BOUNDS, silence=10.0, reply=10.0);"
    " sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')",
)
"""Runs the command with 10 seconds for a reply instead of 30: both attempts at a slow account take a minute else."""


def contents(draw: random.Random) -> tuple[dict[str, Any], bool]:
    """What an account holds, and whether all of it can land."""
    now = time.time()
    bad: dict[str, Any] = {
        "positions": [position(1), None, None, {"ticket": 1}],
        "history": [trade(9), [], trade(9, volume="x")],
    }
    many: dict[str, Any] = {"positions": [{"ticket": number} for number in range(100_000)]}
    kinds: list[tuple[dict[str, Any], bool]] = [
        ({"positions": [position(1), position(1)], "history": [trade(9), trade(9)]}, True),
        ({"history": [operation(1, 5.0), operation(2, -3.0, type=2)]}, True),
        ({"history": [deal(1, 0, 5, now), deal(2, 1, 5, now, type=1, profit=2.0)]}, True),
        (bad, False),
        (many, False),
    ]
    return draw.choices(kinds, (4, 4, 4, 2, 0.2))[0]


def test_300_accounts_with_a_fault_each(accounts_world: AccountsWorld) -> None:
    """Exactly the healthy accounts are current after one run, within its budget and 300 MB."""
    world, draw = accounts_world, random.Random(7)
    names = [f"{number:03d}" for number in range(300)]
    world.register(*names)
    healthy = set()
    for name in names:
        content, lands = contents(draw)
        world.fake.account(name, **{"info": info(1000), "positions": [position(1)], "history": [trade(9)], **content})
        fault, endpoint = {}, "*"
        if draw.random() < 0.5:
            # the slow ones are in one batch, so that the run waits for them once
            fault = draw.choice(SLOW if name.startswith("15") else FAULTS)
            endpoint = draw.choice(["*", "info", "positions", "history"])
            world.fake.treat(name, endpoint, **fault)
        is_spared = "endless" in fault and endpoint in ("info", "positions")  # which have no pages
        if lands and (not fault or is_spared):
            healthy.add(name)
    began = time.monotonic()
    process = world.start_alone("accounts", "sync", "--json", wrapper=(*MEASURED, *HASTY))
    printed = process.communicate()[0]
    assert process.returncode == 1, printed[-2000:]
    assert time.monotonic() - began < 300
    kilobytes = int(printed.rsplit(" kB at most", 1)[0].rsplit("\n", 1)[-1])
    assert kilobytes < 300 * 1024
    current = {
        account
        for (account,) in world.query(
            "select account_id from accounts.trading_accounts"
            " where last_successful_sync_at is not null and balance = 1000"
        )
    }
    assert current == healthy
