"""MT5 accounts: from the service's answers to balances, trades and logs, whatever it answers."""

from __future__ import annotations

import json
import re
import subprocess
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from extract.warehouse import lock_key
from tests.support.accounts_world import AccountsWorld
from tests.support.fake_mt5 import KEY, info, iso, position, trade
from tests.support.services import service
from tests.support.world import TRADEHOUSE

embedded_only = pytest.mark.only_on("embedded")


def test_a_position_from_its_opening_to_its_end(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    world.register("a", "b")
    world.fake.account("a", info(1000), [position(1), position(2), position(3)], [])
    world.fake.account("b", info(2000), [position(1, volume=0.5, symbol="XAUUSD")], [])
    world.poll()
    assert world.statuses("a") == {"1": "open", "2": "open", "3": "open"}

    world.fake.account("a", positions=[position(1, profit=-3.25, current_price=1.09), position(3)])
    world.poll()
    assert world.statuses("a") == {"1": "open", "2": "closing", "3": "open"}
    assert [world.trades("a")["1"][name] for name in ("profit", "current_price")] == [-3.25, 1.09]

    closed = time.time() - 60
    world.fake.account("a", history=[trade(2, closed, profit=42.5, close_price=1.2, swap=-2.0)])
    world.poll()
    found = world.trades("a")["2"]
    assert found["status"] == "closed"
    assert (found["profit"], found["close_price"], found["swap"], found["current_price"]) == (42.5, 1.2, -2.0, None)
    assert datetime.fromisoformat(found["close_time"]).timestamp() == int(closed)
    assert (found["stop_loss"], found["take_profit"]) == (1.09, None)  # of the position: the history has none

    # the same ticket at another account is another trade, and corrected history is corrected
    world.fake.account("a", history=[trade(2, closed, profit=41.0), trade(1, closed)], positions=[position(3)])
    world.poll()
    assert world.statuses("a") == {"1": "closed", "2": "closed", "3": "open"}
    assert world.trades("a")["2"]["profit"] == 41.0
    assert (world.statuses("b"), world.trades("b")["1"]["symbol"]) == ({"1": "open"}, "XAUUSD")
    world.accounts("sync", "--test")


def test_a_position_closed_in_parts(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    world.register("a")
    world.fake.account("a", positions=[position(7, volume=1.0)])
    world.poll()
    parts = [trade(101, position_id=7, volume=0.4, close_price=1.2, profit=10)]
    world.fake.account("a", positions=[position(7, volume=0.6)], history=parts)
    world.poll()
    assert (world.statuses("a"), world.trades("a")["7"]["volume"]) == ({"7": "open"}, 0.6)
    world.fake.account("a", positions=[])
    world.poll()
    assert world.statuses("a") == {"7": "closing"}, "what was closed of it earlier is not the rest"
    parts.append(trade(102, position_id=7, volume=0.6, close_price=1.3, profit=20))
    world.fake.account("a", history=parts)
    world.poll()
    found = world.trades("a")["7"]
    assert (found["status"], found["volume"], found["profit"], found["close_price"]) == ("closed", 1.0, 30, 1.26)


def test_what_arrived_is_kept_and_what_did_not_is_named(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    world.register("a", "b")
    for account in "ab":
        world.fake.account(account, info(1000), [position(1), position(2)], [trade(9)])
    world.poll()
    world.fake.treat("a", "info", status=500, body="oops")
    world.fake.account("a", info(5), [position(2)], [trade(8)])
    result = world.poll(code=1)
    assert (result["a"]["status"], result["b"]["status"]) == ("partial", "success")
    assert result["a"]["error_message"] == f"info: {world.fake.url} answers HTTP 500 (tried 2 times)"
    assert world.standing("a") == (1000, 0, result["a"]["error_message"])
    assert world.statuses("a") == {"1": "closing", "2": "open", "8": "closed", "9": "closed"}

    # without a list of positions nothing is gone; the history still closes what it has
    world.fake.treat("a", "info")
    world.fake.treat("a", "positions", cut=True)
    world.fake.account("a", positions=[], history=[trade(2), trade(8)])
    result = world.poll(code=1)
    assert result["a"]["error_message"].startswith("positions: ")
    assert world.statuses("a") == {"1": "closing", "2": "closed", "8": "closed", "9": "closed"}
    assert world.standing("a")[0] == 5
    world.fake.treat("a", "positions")
    world.poll()
    assert world.standing("a") == (5, 0, None)
    assert world.statuses("a") == {"1": "closing", "2": "closed", "8": "closed", "9": "closed"}


def test_an_account_that_fails_hides_no_other(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    world.register("a", "b")
    for account in "ab":
        world.fake.account(account, info(1000), [position(1)], [trade(9)])
    world.poll()
    versions = "select account_id, ticket, xmin::text from accounts.trades order by 1, 2"
    before = world.query(versions)
    refusal = {"success": False, "error_code": "TERMINAL_DOWN", "error_message": f"no terminal for {KEY}"}
    world.fake.treat("a", body=json.dumps(refusal), status=503)
    for count in (1, 2, 3):
        result = world.poll(code=1)
        assert result["a"]["error_message"] == "TERMINAL_DOWN: no terminal for ***"
        assert world.standing("a") == (1000, count, "TERMINAL_DOWN: no terminal for ***")
        assert world.standing("b") == (1000, 0, None)
    assert world.query(versions) == before, "nothing has changed, and so nothing is rewritten"
    [(failed, error)] = world.query("select failed_syncs, last_error from accounts.recent_failures")
    assert (failed, error) == (3, "TERMINAL_DOWN: no terminal for ***")
    assert world.query("select account_id, syncs, success_rate_pct from accounts.account_success_rates order by 1") == [
        ("a", 4, 25),
        ("b", 4, 100),
    ]
    assert world.query("select sum(syncs) from accounts.sync_durations_by_hour") == [(8,)]
    logs = "select sync_type, status from accounts.sync_logs where account_id = 'a' order by execution_id"
    assert world.query(logs) == [("manual", status) for status in ("success", "failed", "failed", "failed")]
    runs = "select (select array_agg(run_id order by run_id) from ops.sync_runs where command = 'accounts sync')"
    assert world.query(
        f"{runs} = array_agg(execution_id order by execution_id) from accounts.sync_logs where account_id = 'a'"
    ) == [(True,)]
    world.fake.treat("a")
    world.poll()
    assert world.standing("a") == (1000, 0, None)


NONSENSE: dict[str, dict[str, Any]] = {
    "is not JSON (HTTP 200, 17 bytes)": {"body": '{"success": true, '.strip()},
    "info: balance: input should be a finite number": {
        "body": '{"success": true, "data": {"balance": NaN}, "positions": [NaN], "trades": [Infinity]}'
    },
    "the reply is not one of the service's": {"body": "[]"},
    "the reply is about another account": {"body": '{"success": true, "account_id": "somebody\'s"}'},
    "positions: the reply has no list of positions": {
        "body": '{"success": true, "data": 1, "positions": {}, "trades": "x"}'
    },
    "redirects to another address": {"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}},
    "the service answers HTTP 404": {"status": 404, "body": "{}"},
    "the service does not accept MT5_SERVICE_API_KEY": {"status": 401},
    "does not answer": {"hang_up": True},
    "peer closed connection": {"cut": True},
    "answers with more than 8,388,608 bytes": {"flood": 100 * 1024 * 1024},
}


def test_nonsense_is_the_accounts_own_failure(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    accounts = {f"account {number}": fault for number, fault in enumerate(NONSENSE.values())}
    world.register(*accounts, "well")
    for account in [*accounts, "well"]:
        world.fake.account(account, info(1000), [position(1)], [trade(9)])
    for account, fault in accounts.items():
        world.fake.treat(account, **fault)
    result = world.poll(code=1)
    assert result.pop("well")["status"] == "success"
    assert {each["status"] for each in result.values()} == {"failed"}
    for message, each in zip(NONSENSE, result.values(), strict=True):
        assert message in each["error_message"]
    assert world.query("select account_id, count(*) from accounts.trades group by 1") == [("well", 2)]


@embedded_only
def test_items_that_cannot_land_are_listed_and_nothing_else_is_lost(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    world.register("a")
    world.fake.account("a", info(1000), [position(1), position(2)], [])
    world.poll()
    unusable = [
        position(2, volume="1"),
        position(3, open_time="9999-01-01T00:00:00Z"),
        position(4, profit=True),
        position(5, comment="a\0b"),
        {"symbol": "EURUSD"},
        "nothing",
    ]
    rows = [trade(10), trade(11, open_time=1e18), trade(12, type=[1])]
    world.fake.account("a", info(balance="much"), [position(1, profit=1.5), *unusable], rows)
    result = world.poll(code=1)["a"]
    assert result["status"] == "failed"  # none of the three is all there
    assert "info: balance: input should be a valid number" in result["error_message"]
    assert (
        "positions: volume of ticket 2: input should be a valid number, and 5 more rejects" in result["error_message"]
    )
    assert world.trades("a")["1"]["profit"] == 1.5
    assert world.statuses("a") == {"1": "open", "2": "open", "10": "closed"}
    rejects = "select row_key, column_name from ops.rejected_rows where source = 'accounts' and resolved_at is null"
    found = {(key if "sha256" not in key else "digest", column) for key, column in world.query(rejects)}
    assert found == {
        ("info", "balance"),
        ("positions 2", "volume"),
        ("positions 3", "open_time"),
        ("positions 4", "profit"),
        ("positions 5", "payload"),
        ("digest", "ticket"),
        ("digest", "item"),
        ("history 11", "open_time"),
        ("history 12", "type"),
    }
    world.fake.account("a", info(1000), [position(1)], [trade(10)])
    world.poll()
    assert world.query(rejects) == []
    assert world.statuses("a") == {"1": "open", "2": "closing", "10": "closed"}


@embedded_only
def test_both_vocabularies_make_the_same_rows(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    world.register("ours", "native")
    opened = int(time.time()) - 5000
    ours = position(1, open_time=iso(opened), tp=1.3)
    past = trade(2, opened + 60, position_id=2)
    world.fake.account("ours", info(1000), [ours], [past])
    native_info = info(1000)
    native_info["margin_free"] = native_info.pop("free_margin")
    names = {"open_price": "price_open", "current_price": "price_current", "open_time": "time"}
    native = {names.get(name, name): value for name, value in ours.items()} | {"type": 0, "time": opened}
    names = {
        "open_price": "price_open",
        "close_price": "price_close",
        "open_time": "time_open",
        "close_time": "time_close",
    }
    native_past = {names.get(name, name): value for name, value in past.items()} | {
        "ticket": 999,
        "time_open": opened + 60 - 3600,
        "time_close": opened + 60,
    }
    world.fake.account("native", native_info, [native], [native_past])
    world.poll()
    for table in ("trades", "trading_accounts"):
        rows = world.query(
            f"select to_jsonb({table}) - array['account_id', 'last_sync_at', 'last_successful_sync_at'] from"
            f" accounts.{table} order by account_id{', ticket' if table == 'trades' else ''}"
        )
        assert len(rows) in (2, 4)
        assert rows[: len(rows) // 2] == rows[len(rows) // 2 :]


@embedded_only
def test_all_pages_are_read_and_a_failed_one_moves_no_mark(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    world.register("a")
    began = time.time()

    def asked_from(days: int) -> str:
        """What a history asks from that begins so many days before the newest poll."""
        [(started_at,)] = world.query("select max(started_at) from staging.mt5_sync_results")
        return iso((started_at - timedelta(days=days)).timestamp())

    rows = [trade(number, began - 60 * number) for number in range(1, 5001)]
    world.fake.account("a", info(1000), [], rows)
    world.fake.treat("a", "history", times=2, status=500)
    world.poll(code=1)
    [first, retried] = [each for each in world.fake.requests() if "history" in each]
    assert first == retried
    assert from_date(first) == asked_from(days=30)
    world.poll()
    pages = [each for each in world.fake.requests() if "history" in each]
    assert [page.rsplit("=", 1)[1] for page in pages] == ["0", "1000", "2000", "3000", "4000"]
    assert {from_date(page) for page in pages} == {asked_from(days=30)}, "the failure has moved the mark"
    overlap = asked_from(days=1)
    assert world.query("select count(*), count(distinct ticket) from accounts.trades") == [(5000, 5000)]
    world.poll()
    later = [each for each in world.fake.requests() if "history" in each]
    assert {from_date(page) for page in later} == {overlap}
    assert len(later) == 2  # a day of a trade a minute


def from_date(request: str) -> str:
    return parse_qs(urlsplit(request).query)["from_date"][0]


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
    assert world.query("select account_id, execution_id from accounts.sync_logs order by 1, 2") == [
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
    with service(world, program=(TRADEHOUSE, "accounts")) as running:
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


def test_rows_of_a_customer_can_be_told_apart(accounts_world: AccountsWorld) -> None:
    """The example of row level security in docs/accounts.md, as it stands there."""
    world = accounts_world
    world.register("a", "b")
    for account in "ab":
        world.fake.account(account, info(1000), [position(1)], [])
    world.poll()
    page = (Path(__file__).resolve().parents[3] / "docs" / "accounts.md").read_text(encoding="utf-8")
    [example] = [block for block in re.findall(r"```sql\n(.*?)```", page, re.DOTALL) if "row level security" in block]
    world.execute("drop role if exists customer_of_test")
    world.execute("create role customer_of_test")
    world.execute(example.replace("customers", "customer_of_test"))
    with world.connection() as connection, connection.cursor() as cursor:
        cursor.execute("set role customer_of_test")
        cursor.execute("set tradehouse.account = 'b'")
        cursor.execute("select distinct account_id from accounts.trades")
        assert cursor.fetchall() == [("b",)]
        cursor.execute("select account_id from accounts.trading_accounts")
        assert cursor.fetchall() == [("b",)]
    world.execute("drop owned by customer_of_test; drop role customer_of_test")
