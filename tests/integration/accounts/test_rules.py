"""Rules of the accounts that are easily lost: each stands alone in one line of code."""

from __future__ import annotations

import time
from pathlib import Path

import psycopg2
import pytest

from tests.support.accounts_world import AccountsWorld
from tests.support.fake_mt5 import info, position, trade

pytestmark = pytest.mark.only_on("embedded")
both_servers = pytest.mark.only_on("embedded", "debian")

RLS = Path(__file__).resolve().parents[3] / "sql" / "row_level_security.sql"


@both_servers
def test_counts_of_failures(accounts_world: AccountsWorld) -> None:
    """A partial sync ends the streak; the views count 24 hours; results are kept for 30 days."""
    world = accounts_world
    world.register("a")
    world.fake.treat("a", status=500)
    world.fake.account("a", info(1))
    world.execute(
        "insert into staging.mt5_sync_results"
        " select run, 'a', 'manual', now() - age, now() - age, status, 0, 'x', now() - age from (values"
        " (-9, 'failed', interval '30 days 1 minute'), (-8, 'failed', '29 days 23 hours 59 minutes'),"
        " (-5, 'failed', '25 hours'), (-4, 'success', '24 hours 1 minute'), (-3, 'failed', '23 hours 59 minutes'),"
        " (-2, 'partial', '2 hours'), (-1, 'failed', '1 hour')) as old (run, status, age)"
    )
    world.execute("alter table ops.sync_runs alter column run_id restart with 100")
    world.poll(code=1)
    assert world.standing("a")[1] == 2
    assert world.query("select syncs, successful_syncs from accounts.account_success_rates") == [(4, 0)]
    assert world.query("select failed_syncs, partial_syncs from accounts.recent_failures") == [(3, 1)]
    assert world.query("select min(run_id) from accounts.sync_logs") == [(-8,)]


def test_a_close_while_it_is_polled(accounts_world: AccountsWorld) -> None:
    """The history may be newer than the list of one poll. A correction later is not a closing."""
    world, closed = accounts_world, time.time() - 5
    world.register("a")
    levels = {"sl": 0.0, "tp": 0}
    world.fake.account(
        "a", info(1), [position(1, **levels), position(2, sl=1.0)], [trade(1, closed), trade(8, **levels)]
    )
    world.poll()
    assert world.statuses("a") == {"1": "open", "2": "open", "8": "closed"}
    for ticket in ("1", "8"):
        found = world.trades("a")[ticket]
        assert (found["stop_loss"], found["take_profit"]) == (None, None), "a level of 0 is none"
    world.fake.treat("a", "positions", status=500)
    world.fake.account("a", history=[trade(1, closed, profit=1.0), trade(8)])
    world.poll(code=1)
    assert world.statuses("a") == {"1": "open", "2": "open", "8": "closed"}
    world.fake.treat("a", "positions")
    world.fake.account("a", positions=[position(2, sl=1.0)])
    world.poll()
    assert world.statuses("a") == {"1": "closed", "2": "open", "8": "closed"}
    assert world.trades("a")["1"]["profit"] == 1.0
    # history that comes without a list closes what it covers; the list has the last word
    world.fake.treat("a", "positions", status=500)
    world.fake.account("a", history=[trade(2)])
    world.poll(code=1)
    assert world.statuses("a")["2"] == "closed"
    world.fake.treat("a", "positions")
    world.poll()
    assert world.statuses("a")["2"] == "open"


def test_nothing_lands_after_the_lock_is_lost(accounts_world: AccountsWorld) -> None:
    """The connection of a run holds its lock. If both are lost in the middle, the rest does not land by another one."""
    world, names = accounts_world, [f"{number:02d}" for number in range(12)]
    world.register(*names)
    for name in names:
        world.fake.account(name, info(5), [], [])
    world.poll()
    for name in names:
        world.fake.account(name, info(7))
    for name in names[10:]:  # the second batch
        world.fake.treat(name, delay=3)
    landed = "select array_agg(account_id order by account_id) from staging.mt5_account_info where payload @> '{0}'"
    results = "select max(run_id), count(*) from staging.mt5_sync_results where account_id >= '10'"
    marks = "select attempted_at, history_until, balance_at from staging.mt5_account_marks where account_id >= '10'"
    before = world.query(results), world.query(marks)
    process = world.start("accounts", "sync")
    while world.query(landed.format('{"balance": 7}')) != [(names[:10],)]:
        assert process.poll() is None
        time.sleep(0.02)
    [(ended,)] = world.query(
        "select pg_terminate_backend(pid, 5000) from pg_locks join pg_stat_activity using (pid)"
        " where locktype = 'advisory' and granted and application_name like 'tradehouse accounts sync%%'"
    )
    assert ended
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 2, printed
    assert "Traceback" not in printed
    assert world.query(landed.format('{"balance": 5}')) == [(names[10:],)]
    assert (world.query(results), world.query(marks)) == before
    balances = "select distinct balance from accounts.trading_accounts"
    assert world.query(balances) == [(5,)], "nor have the tables been refreshed"
    for name in names[10:]:
        world.fake.treat(name)
    world.poll()
    assert world.query(balances) == [(7,)]


@both_servers
def test_row_level_security(accounts_world: AccountsWorld) -> None:
    """The file as it stands: customers see their rows, staff sees all, and a table that is made anew is protected."""
    world = accounts_world
    world.register("a", "b")
    for account in "ab":
        world.fake.account(account, info(1000), [position(1)], [trade(9)])
    world.poll()
    for role in ("customers_of_test", "staff_of_test"):
        world.execute(f"drop role if exists {role}; create role {role}")
    script = RLS.read_text(encoding="utf-8")
    script = script.replace(":'customers'", "'customers_of_test'").replace(":'staff'", "'staff_of_test'")
    world.execute(script)
    world.execute(script)  # repeatable
    world.execute("grant usage on schema accounts to staff_of_test")
    tables = ("trading_accounts", "trades", "equity", "performance", "deals", "balance_operations")
    world.execute("".join(f"grant select on accounts.{table} to staff_of_test;" for table in tables))

    def seen(role: str, table: str, setting: str = "") -> set[str]:
        with world.connection() as connection, connection.cursor() as cursor:
            cursor.execute(f"set role {role}")
            if setting:
                cursor.execute("begin")
                cursor.execute(f"set local tradehouse.account = '{setting}'")
            cursor.execute(f"select {'id' if table == 'registered_accounts' else 'account_id'} from accounts.{table}")
            return {account for (account,) in cursor.fetchall()}

    def check() -> None:
        for table in tables[:4]:
            assert seen("customers_of_test", table, "b") == {"b"}, table
            assert seen("customers_of_test", table) == set(), table
            assert seen("staff_of_test", table) == {"a", "b"}, table
        for table in tables[4:]:
            assert seen("customers_of_test", table, "b") == set()
        for closed in ("sync_logs", "registered_accounts", "stale_accounts", "recent_failures"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                seen("customers_of_test", closed, "b")

    check()
    [(options,)] = world.query("select reloptions from pg_class where oid = 'accounts.stale_accounts'::regclass")
    assert options == ["security_invoker=true"]
    world.execute("alter table accounts.trades drop column profit cascade; alter table accounts.trades add profit text")
    world.execute("drop table accounts.equity")
    done = world.dbt("build", "--full-refresh", "--select", "tag:accounts")
    assert done.returncode == 0, done.stdout
    world.poll()
    world.execute("".join(f"grant select on accounts.{table} to staff_of_test;" for table in tables))
    check()
    [(options,)] = world.query("select reloptions from pg_class where oid = 'accounts.stale_accounts'::regclass")
    assert options == ["security_invoker=true"]
    for role in ("customers_of_test", "staff_of_test"):
        world.execute(f"drop owned by {role}; drop role {role}")
