"""Whatever one account sends, the others land: rejects by their key, savepoints, and errors that say so."""

from __future__ import annotations

import time

import pytest

from extract.rejects import MOST_KEPT
from tests.support.accounts_world import AccountsWorld
from tests.support.fake_mt5 import info, position, trade
from tests.support.services import service

pytestmark = pytest.mark.only_on("embedded")

REJECTS = (
    "select entity, row_key, column_name from ops.rejected_rows"
    " where source = 'accounts' and resolved_at is null order by 1, 2, 3"
)


CLOSED = time.time() - 1800


def two_accounts(world: AccountsWorld) -> None:
    world.register("a", "b")
    for account in "ab":
        world.fake.account(account, info(1000), [position(1)], [trade(9, CLOSED)])


def test_the_same_reject_twice_stops_no_account(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    two_accounts(world)
    bad = [
        trade(10, volume="x"),
        *(trade(number, time.time() - 7200) for number in range(100, 1200)),
        trade(10, type=[1]),
    ]
    bad.append(trade(10, time.time() - 86_400, volume="x"))
    world.fake.account("a", positions=[None, None, position(1)], history=bad)
    for _ in range(2):
        result = world.poll(code=1)
        assert (result["a"]["status"], result["b"]["status"]) == ("partial", "success")
        assert "positions: item: " in result["a"]["error_message"]
        found = world.query(REJECTS)
        assert [(key.split()[0], column) for _, key, column in found] == [
            ("history", "type"),
            ("history", "volume"),
            ("positions", "item"),
        ]
    assert world.statuses("b") == {"1": "open", "9": "closed"}
    assert len(world.statuses("a")) == 1101


def test_rejects_beyond_a_thousand_are_counted(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    two_accounts(world)
    bad = [position(number, volume="x") for number in range(10_000, 10_000 + MOST_KEPT + 500)]
    world.fake.account("a", positions=[*bad, position(1)])
    assert world.poll(code=1)["a"]["error_message"] == (
        "positions: volume of ticket 10000: input should be a valid number, and 1,499 more rejects, of which 500 are"
        " not kept"
    )
    assert world.query("select count(*) from ops.rejected_rows") == [(MOST_KEPT,)]
    assert world.query("select max(rows_rejected) from ops.sync_runs") == [(MOST_KEPT + 500,)]
    assert world.statuses("a") == {"1": "open", "9": "closed"}
    world.fake.account("a", positions=[position(1)])
    world.poll()
    assert world.query(REJECTS) == []


def test_an_account_that_cannot_land_fails_alone(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    two_accounts(world)
    world.poll()
    world.execute(
        "create function refuse() returns trigger language plpgsql as $$ begin"
        " if new.account_id = 'a' then raise division_by_zero using message = 'a trap'; end if; return new; end $$;"
        "create trigger trap before insert on staging.mt5_history for each row execute function refuse()"
    )
    for account in "ab":
        world.fake.account(account, info(5), [position(2)], [trade(8), trade(9, CLOSED)])
    marks = "select account_id, attempted_at, history_until from staging.mt5_account_marks order by 1"
    [before, _] = world.query(marks)
    result = world.poll(code=1)
    assert (result["a"]["status"], result["b"]["status"]) == ("failed", "success")
    assert result["a"]["error_message"].startswith("nothing could land: a trap")
    assert result["a"]["trades_synced"] == 0
    assert world.standing("a")[0] == 1000, "what had landed of it is taken back"
    assert world.standing("b")[0] == 5
    assert world.statuses("a") == {"1": "open", "9": "closed"}
    [after, _] = world.query(marks)
    assert after[1] > before[1], "the attempt is on record"
    assert after[2] == before[2], "its history begins where it did"
    assert world.query("select status, rows_changed from ops.sync_runs order by run_id desc limit 1") == [
        ("partial", 4)  # of b: info, two positions, one trade
    ]
    world.execute("drop trigger trap on staging.mt5_history")
    world.poll()
    assert world.statuses("a") == world.statuses("b") == {"1": "closing", "2": "open", "8": "closed", "9": "closed"}


def test_an_error_of_the_data_is_logged_at_once(accounts_world: AccountsWorld) -> None:
    """The tick has five minutes in which a lost connection would be tried again."""
    world = accounts_world
    two_accounts(world)
    world.poll()
    world.execute("alter table staging.mt5_sync_results add constraint trap check (status <> 'success') not valid")
    with service(world, "--every", "300", group=("accounts",)) as running:
        running.await_log('violates check constraint "trap"', seconds=60)
        assert "ERROR" in running.log
        assert running.end() == 0
    assert world.query("select status, error like '%trap%' from ops.sync_runs order by run_id desc limit 1") == [
        ("failed", True)
    ]


def test_many_open_rejects_cost_a_sync_nothing(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    two_accounts(world)
    world.fake.account("a", positions=[position(number, volume="x") for number in range(900)])
    world.poll(code=1)
    world.execute(
        "insert into ops.rejected_rows (source, entity, row_key, column_name, reason, original, extracted_at)"
        " select 'accounts', 'a', 'history ' || number, 'volume', 'input should be a valid number',"
        " repeat('x', 200), now() from generate_series(1, 60000) as number"
    )
    world.fake.treat("a", "history", status=500)  # so that those of the history stay open
    began = time.monotonic()
    world.poll(code=1)
    assert time.monotonic() - began < 20  # 155 s when each was compared with each
    assert len(world.query(REJECTS)) == 60_900
