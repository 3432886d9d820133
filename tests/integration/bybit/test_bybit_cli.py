"""The `tradehouse bybit` commands: what they print, how they end, what the service lives through; never a secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from extract.sources.bybit.client import BAN_PAUSE
from tests.conftest import Server
from tests.support.bybit_items import days_ago, execution
from tests.support.bybit_world import SECRETS, BybitWorld, bybit_world_on
from tests.support.fake_bybit import UID
from tests.support.services import RunningService, service

NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"

# What these print does not depend on the server, and starting the command for each takes a while.
pytestmark = pytest.mark.only_on("embedded")


@pytest.fixture
def account(tmp_path: Path) -> Iterator[BybitWorld]:
    """A world without a warehouse."""
    with bybit_world_on(NOWHERE, tmp_path / "home", tmp_path) as world:
        yield world


def test_the_test_says_what_works_of_account_and_warehouse(account: BybitWorld, bybit_world: BybitWorld) -> None:
    account.settings["BYBIT_CATEGORIES"] = "linear,spot"
    account.fake.skew(-800)
    *lines, error = account.bybit("test", code=2).splitlines()
    assert error.startswith("error: cannot connect to Postgres")
    assert bybit_world.bybit("test").splitlines()[-1].endswith(" can be reached")
    assert len(lines) == 2
    assert lines[0].startswith(
        f"{account.fake.url} accepts the key of account {UID}, executions of linear can be read; "
    )
    assert "executions of spot can be read" in lines[1]
    assert lines[0].endswith("s ahead of Bybit's")
    queries = [query for _, query in account.fake.requests()]
    assert queries == ["category=linear&limit=1", "category=spot&limit=1"]


@pytest.mark.parametrize("command", [["test"], ["backfill"], ["sync"], ["run"]], ids=str)
def test_missing_settings_are_named_at_once(account: BybitWorld, command: list[str]) -> None:
    account.settings |= {"BYBIT_API_KEY": "", "BYBIT_API_SECRET": ""}
    assert "BYBIT_API_KEY and BYBIT_API_SECRET are not set" in account.fails(*command)
    account.settings["BYBIT_CATEGORIES"] = "futures"
    assert "BYBIT_CATEGORIES" in account.fails(*command)


@pytest.mark.parametrize(
    ("settings", "fault", "words"),
    [
        ({"BYBIT_API_KEY": "another"}, {}, "does not know the key of BYBIT_API_KEY"),
        ({"BYBIT_API_SECRET": "another"}, {}, "BYBIT_API_SECRET does not belong to BYBIT_API_KEY"),
        ({}, {"code": 10005}, "may not read executions"),
        ({}, {"code": 10010}, "other IP addresses"),
        ({}, {"status": 403}, "Wait ten minutes before the next attempt"),
        ({}, {"code": 10001, "message": "[bold]params error"}, "(10001: [bold]params error)"),
        ({}, {"status": 302}, "redirects"),
    ],
    ids=["key", "secret", "permission", "bound address", "banned", "refused", "redirect"],
)
def test_what_no_attempt_would_change_is_one_line(
    account: BybitWorld, settings: dict[str, str], fault: dict[str, Any], words: str
) -> None:
    account.settings |= settings
    account.fake.always(**fault)
    line = account.fails("test")
    assert words in line
    assert "another" not in line.replace("another address", "")


def test_a_clock_that_is_off_is_named_with_how_much(account: BybitWorld) -> None:
    account.fake.skew(3_600_000)
    line = account.fails("test")
    found = re.search(r"\(10002\): this machine's clock is ([\d,.]+) s behind Bybit's; set it", line)
    assert found, line
    # the reply may have taken a while
    assert float(found[1].replace(",", "")) == pytest.approx(3600, abs=2)


def test_trouble_that_passes_shows_nowhere(account: BybitWorld) -> None:
    account.fake.next({"code": 10006, "reset_in": 200}, {"status": 502}, {"cut": True})
    assert "accepts the key" in account.bybit("test", code=2)
    assert len(account.fake.requests()) == 4


def test_an_unreachable_warehouse_and_trades_that_are_not_there_yet(
    account: BybitWorld, new_bybit_world: BybitWorld
) -> None:
    assert "cannot connect to Postgres" in account.fails("backfill")
    assert "cannot connect to Postgres" in account.fails("stats")
    assert new_bybit_world.fails("stats") == "error: there are no trades yet: run tradehouse bybit backfill"


def test_an_option_bought_for_nothing_stops_no_trade(bybit_world: BybitWorld) -> None:
    bybit_world.settings["BYBIT_CATEGORIES"] = "linear,option"
    for category, symbol, entry_price in (("linear", "BTCUSDT", "100"), ("option", "BTC-31JAN25-100000-C", "0")):
        common = {"symbol": symbol, "execQty": "1", "execFee": "0"}
        bybit_world.fake.add(
            [
                execution(f"{category}-in", days_ago(2), **common, side="Buy", execPrice=entry_price),
                execution(f"{category}-out", days_ago(1), **common, side="Sell", execPrice="130"),
            ],
            category,
        )
    bybit_world.backfill("--test")
    assert bybit_world.query(
        "select category, net_pnl::text, pnl_pct::text from trading.completed_trades order by category"
    ) == [("linear", "30", "30"), ("option", "130", None)]


def test_a_run_that_could_not_begin_is_on_record(bybit_world: BybitWorld) -> None:
    bybit_world.fake.always(code=10005)
    bybit_world.fails("backfill")
    command, status, *_, error = bybit_world.last_run()
    assert (command, status) == ("bybit backfill", "failed")
    assert "may not read executions" in error


def test_no_secret_in_output_files_or_process_titles(new_bybit_world: BybitWorld) -> None:
    bybit_world = new_bybit_world  # its first run builds all models, so dbt writes, too
    bybit_world.settings["LOG_LEVEL"] = "debug"
    bybit_world.settings["BYBIT_REQUESTS_PER_SECOND"] = "20"
    bybit_world.fake.generate(300, days_ago(25), days_ago(1))
    process = bybit_world.start_alone("bybit", "backfill")
    seen = ""
    while process.poll() is None:
        seen += Path(f"/proc/{process.pid}/cmdline").read_text(errors="replace")
        names = bybit_world.query("select application_name, query from pg_stat_activity where application_name <> ''")
        seen += str(names)
    printed = process.communicate()
    assert process.returncode == 0, printed
    assert "reading linear from" in str(printed)
    # three months, and the rest of the week they begin in
    assert bybit_world.query(
        "select now() - min(window_start) between '91 days' and '99 days' from staging.bybit_windows"
    ) == [(True,)]
    assert "tradehouse bybit backfill pid" in seen
    written = "".join(file.read_text(errors="replace") for file in bybit_world.home.rglob("*") if file.is_file())
    assert "dbt" in written
    recorded = str(bybit_world.query("select * from ops.sync_runs"))
    for secret in SECRETS[:2]:
        assert secret not in seen + str(printed) + written + recorded


@pytest.fixture
def new_bybit_world(server: Server, tmp_path: Path) -> Iterator[BybitWorld]:
    """A world whose warehouse is an empty database."""
    with bybit_world_on(server.fresh_database("template1"), tmp_path / "home", tmp_path) as world:
        yield world


@pytest.fixture
def served_world(server: Server, bybit_world: BybitWorld) -> BybitWorld:
    """A world for the service, which does nothing with the server that a sync does not do: one server is enough."""
    if server.name != "embedded":
        pytest.skip("the embedded server is enough")
    return bybit_world


def bybit_service(world: BybitWorld) -> AbstractContextManager[RunningService]:
    return service(world, group=("bybit",))


def await_landed(running: RunningService, world: BybitWorld, exec_id: str) -> None:
    running.await_that(lambda: exec_id in world.landed(), exec_id)


def test_the_service_follows_the_account_until_sigterm(served_world: BybitWorld) -> None:
    served_world.backfill()
    with bybit_service(served_world) as running:
        running.await_log("tests passed")
        for exec_id in ("e1", "e2"):
            served_world.fake.add([execution(exec_id, days_ago(0))])
            await_landed(running, served_world, exec_id)
        running.await_log(" 0 changed, 0 rejected, 0 models built")
        assert running.end() == 0
    assert running.log.rstrip().endswith("stopped")
    assert running.log.count("tests passed") == 1  # a tick without tests does not say that none failed
    assert not any(secret in running.log for secret in SECRETS)
    assert served_world.query(
        "select distinct command, status from ops.sync_runs where command in ('bybit run', 'bybit sync')"
    ) == [("bybit run", "done")]


def test_the_service_begins_by_itself_and_says_once_what_is_wrong(served_world: BybitWorld) -> None:
    served_world.settings["BYBIT_BACKFILL_MONTHS"] = "2"
    served_world.fake.add([execution("older", days_ago(40)), execution("too_old", days_ago(80))])
    with bybit_service(served_world) as running:
        await_landed(running, served_world, "older")
        running.await_log("tests passed")
        served_world.fake.always(code=10003)
        running.await_log("does not know the key")
        served_world.fake.requests()
        for _ in range(3):
            running.await_that(lambda: bool(served_world.fake.requests()), "further attempt")
        served_world.fake.always()
        running.await_log("run: cleared")
        assert running.log.count("does not know the key") == 1
        assert running.end() == 0
    assert list(served_world.landed()) == ["older"]


def test_the_service_keeps_quiet_after_a_ban(served_world: BybitWorld) -> None:
    served_world.backfill()
    with bybit_service(served_world) as running:
        running.await_log("tests passed")
        served_world.fake.always(status=403)
        running.await_log(f"no requests for {BAN_PAUSE:g} s")
        served_world.fake.requests()
        assert running.end() == 0  # which ends the pause, too
    assert served_world.fake.requests() == []
    assert running.log.count("Wait ten minutes") == 1
