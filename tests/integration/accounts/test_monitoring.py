"""Queries of those who watch over the syncs, of `trading_accounts` and `sync_logs` without their schema."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

from tests.support.accounts_world import AccountsWorld
from tests.support.fake_mt5 import info, position, trade

RECENT_RUNS = """
    select log.account_id, account.login_number, account.broker_name, log.status, log.trades_synced, log.duration_ms,
        log.error_message, log.started_at
    from sync_logs log
    join trading_accounts account on account.id = log.account_id
    where log.sync_type = 'scheduled'
    order by log.started_at desc
    limit 100
"""
SUCCESS_RATES = """
    select account_id, count(*) as syncs, count(case when status = 'success' then 1 end) as successes,
        count(case when status = 'failed' then 1 end) as failures,
        round(count(case when status = 'success' then 1 end)::numeric / count(*) * 100, 2) as success_rate,
        avg(duration_ms) as average
    from sync_logs
    where created_at > now() - interval '24 hours'
    group by account_id
    order by failures desc
"""
FAILING_ACCOUNTS = """
    select account.id, account.login_number, account.broker_name, account.sync_failure_count,
        account.last_connection_error, account.last_sync_at, account.last_successful_sync_at
    from trading_accounts account
    where account.sync_failure_count > 0 and account.is_active = true
    order by account.sync_failure_count desc
"""
DURATIONS_BY_HOUR = """
    select extract(hour from started_at) as hour, count(*) as syncs, avg(duration_ms) as average,
        max(duration_ms) as longest, sum(trades_synced) as trades
    from sync_logs
    where started_at > now() - interval '7 days'
    group by extract(hour from started_at)
    order by hour
"""
STATUSES_OF_AN_HOUR = """
    select count(*), status
    from sync_logs
    where sync_type = 'scheduled' and created_at > now() - interval '1 hour'
    group by status
"""


def test_the_five_queries_that_watch_over_the_syncs(accounts_world: AccountsWorld) -> None:
    world = accounts_world
    world.accounts("add", "a", "--login", "5012345", "--broker", "Some Broker")
    world.accounts("add", "b", "--login", "5012346", "--broker", "Other Broker")
    for account in "ab":
        world.fake.account(account, info(1000), [position(1)], [trade(9)])
    began = time.time()
    world.accounts("sync", "--scheduled")
    world.fake.treat("b", status=503, body='{"success": false, "error_code": "DOWN", "error_message": "no terminal"}')
    world.accounts("sync", "--scheduled", code=1)
    world.accounts("sync", code=1)

    def asked(query: str) -> list[tuple[Any, ...]]:
        with world.connection() as connection, connection.cursor() as cursor:
            cursor.execute("set search_path = accounts; set timezone = 'UTC'")
            cursor.execute(query)
            return cursor.fetchall()

    runs = asked(RECENT_RUNS)
    assert sorted(run[:5] for run in runs) == [
        ("a", 5012345, "Some Broker", "success", 0),
        ("a", 5012345, "Some Broker", "success", 2),
        ("b", 5012346, "Other Broker", "failed", 0),
        ("b", 5012346, "Other Broker", "success", 2),
    ]
    assert {run[6] for run in runs} == {None, "DOWN: no terminal"}
    assert all(run[5] >= 0 and run[7].timestamp() > began - 1 for run in runs)
    assert [run[7] for run in runs] == sorted((run[7] for run in runs), reverse=True)
    assert [row[:5] for row in asked(SUCCESS_RATES)] == [
        ("b", 3, 1, 2, Decimal("33.33")),
        ("a", 3, 3, 0, Decimal("100.00")),
    ]
    [failing] = asked(FAILING_ACCOUNTS)
    assert failing[:5] == ("b", 5012346, "Other Broker", 2, "DOWN: no terminal")
    assert failing[5] > failing[6]
    hours = asked(DURATIONS_BY_HOUR)
    assert (sum(row[1] for row in hours), sum(row[4] for row in hours)) == (6, 4)
    assert all(row[3] >= row[2] > 0 for row in hours)
    assert sorted(asked(STATUSES_OF_AN_HOUR)) == [(1, "failed"), (3, "success")]
