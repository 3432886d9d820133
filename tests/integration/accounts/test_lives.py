"""Random lives of accounts, to the cent, against ledgers that share no code with the pipeline."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from decimal import Decimal

import pytest

from tests.support.accounts_world import AccountsWorld
from tests.support.mt5_lives import LATEST, Life, lives

SYNCS, STEPS, DAYS = 12, 4, 20


@pytest.mark.parametrize(
    "seed",
    [pytest.param(1, marks=pytest.mark.only_on("embedded")), pytest.param(2, marks=pytest.mark.only_on("debian"))],
)
def test_profit_and_operations_are_what_the_balance_changed_by(accounts_world: AccountsWorld, seed: int) -> None:
    world = accounts_world
    start = int(time.time()) - DAYS * 86_400
    accounts = list(lives(18, seed, start))
    starts = {life.name: life.balance for life in accounts}
    world.register(*starts)
    shifting = accounts[0].name
    for sync in range(SYNCS + LATEST + 2):
        today = start + sync * 86_400
        for life in accounts:
            life.sync, life.clock = sync, max(life.clock, today)
            for _ in range(STEPS if sync < SYNCS else 0):
                life.step()
            if sync == SYNCS:
                life.end()
            world.fake.account(life.name, **life.served())
        world.fake.treat(shifting, "history", page=5, shift=1)  # a row comes in between two pages
        results = world.poll()
        assert {each["status"] for each in results.values()} == {"success"}
        _let_a_day_pass(world, today)
        for life in accounts:
            _compare(world, life)
    for life in accounts:
        assert not life.held
        [(profit,)] = world.query(
            "select coalesce(sum(profit + swap + commission + coalesce(fee, 0)), 0) from accounts.trades"
            " where account_id = %s and status = 'closed'",
            life.name,
        )
        [(moved,)] = world.query(
            "select coalesce(sum(amount), 0) from accounts.balance_operations"
            " where account_id = %s and changes_balance",
            life.name,
        )
        assert moved == life.moved
        assert profit + moved == life.balance - starts[life.name], life
    assert world.query("select count(*) from ops.rejected_rows") == [(0,)]
    state = "select to_jsonb(t), xmin::text from accounts.trades as t order by account_id, ticket"
    before = world.query(state)
    done = world.dbt("build", "--full-refresh", "--select", "tag:accounts")
    assert done.returncode == 0, done.stdout
    assert world.query(state) == before


def _compare(world: AccountsWorld, life: Life) -> None:
    """What is listed is open; what has ended is closed, with its net, once all of its history is there, not before."""
    rows = world.query(
        "select ticket, status, volume, realised_profit from accounts.trades where account_id = %s", life.name
    )
    found = {int(ticket): (status, volume, net) for ticket, status, volume, net in rows}
    for identifier, held in life.held.items():
        status, volume, _ = found.pop(identifier)
        assert (status, volume) == ("open", abs(held.lots)), (life, identifier)
    for identifier, (status, _, net) in found.items():
        if life.whole(identifier):
            assert (status, net) == ("closed", life.ended[identifier]), (life, identifier)
        elif identifier in life.known_whole and not life.covered(identifier):
            assert status == "closing", (life, identifier)
        else:
            assert status in ("closing", "closed"), (life, identifier)
    known = {identifier for identifier in life.ended if life.whole(identifier)}
    assert known <= found.keys()
    assert all(isinstance(net, Decimal) for net in life.ended.values())


def _let_a_day_pass(world: AccountsWorld, today: int) -> None:
    """Date what the last sync wrote to the day it was of."""
    day = datetime.fromtimestamp(today, timezone.utc).isoformat()
    recent = "> now() - interval '1 hour'"
    world.execute(
        "".join(
            f"update staging.mt5_account_marks set {column} = '{day}' where {column} {recent};"
            for column in ("history_until", "attempted_at", "balance_at", "explained_at")
        )
        + f"update staging.mt5_positions set shrunk_after = '{day}'::timestamptz - interval '1 day'"
        f" where shrunk_after {recent}"
    )
