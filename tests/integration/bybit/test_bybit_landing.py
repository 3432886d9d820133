"""Executions land once, whatever happens on the way: compared with what the fake Bybit holds."""

from __future__ import annotations

import json
import math
import random
import signal
from datetime import datetime, timezone
from typing import Any

import pytest

from extract.warehouse import lock_key
from tests.support.bybit_items import DAY, days_ago, execution, trades
from tests.support.bybit_world import BybitWorld

# How a window lands does not depend on the server; what the servers take for JSON is tested with the candles.
pytestmark = pytest.mark.only_on("embedded")

COUNT = 900


def expected(start: int, end: int, count: int = COUNT) -> dict[str, tuple[str, dict[str, Any]]]:
    """What staging has to hold of `trades`."""
    return {item["execId"]: ("linear", item) for item in trades(count, start, end)}


def test_a_backfill_lands_every_execution_with_its_own_words(bybit_world: BybitWorld) -> None:
    start, end = days_ago(25), days_ago(0.1)
    bybit_world.fake.generate(COUNT, start, end)
    printed = bybit_world.backfill()
    assert f"{COUNT} executions read, {COUNT} changed, 0 rejected" in printed
    assert bybit_world.landed() == expected(start, end)
    assert bybit_world.last_run() == ("bybit backfill", "done", COUNT, COUNT, 0, None)
    assert bybit_world.query(
        "select count(*) from staging.bybit_executions"
        " where exec_time <> to_timestamp((payload ->> 'execTime')::numeric / 1000)"
    ) == [(0,)]
    [(stamps, ordered)] = bybit_world.query(
        "select count(distinct extracted_at), max(extracted_at) = (select max(extracted_at) from ops.sync_runs)"
        " from staging.bybit_executions"
    )
    assert (stamps, ordered) == (len({at // (7 * DAY) for at in range(start, end, DAY)}), True)


def test_a_second_backfill_reads_the_open_week_only_and_writes_nothing(bybit_world: BybitWorld) -> None:
    bybit_world.fake.generate(COUNT, days_ago(25), days_ago(0.1))
    bybit_world.backfill()
    versions = "select exec_id, xmin::text, xmax::text, extracted_at from staging.bybit_executions order by exec_id"
    before = bybit_world.query(versions)
    bybit_world.fake.requests()
    assert " 0 changed" in bybit_world.backfill()
    assert {query.split("&")[1] for _, query in bybit_world.fake.requests()} == {
        f"startTime={days_ago(0) // (7 * DAY) * 7 * DAY}"
    }
    assert bybit_world.query(versions) == before
    assert bybit_world.query("select extracted_at from ops.sync_runs order by run_id desc limit 1") == [(None,)]


def test_a_sync_reads_what_is_new_and_two_hours_before(bybit_world: BybitWorld) -> None:
    assert "run tradehouse bybit backfill first" in bybit_world.fails("sync")
    bybit_world.backfill()
    bybit_world.fake.requests()
    late, new = execution("late", days_ago(1 / 24)), execution("new", days_ago(0))
    bybit_world.fake.add([late, new])
    assert "2 executions read, 2 changed" in bybit_world.bybit("sync")
    assert bybit_world.landed() == {"late": ("linear", late), "new": ("linear", new)}
    bybit_world.fake.add([execution("late", int(late["execTime"]), execPrice="20001")])
    assert "2 executions read, 1 changed" in bybit_world.bybit("sync")
    assert bybit_world.query("select payload ->> 'execPrice' from staging.bybit_executions where exec_id = 'late'") == [
        ("20001",)
    ]
    assert bybit_world.last_run()[0] == "bybit sync"
    [(begin, end)] = bybit_world.query("select range_start, range_end from ops.sync_runs order by run_id desc limit 1")
    assert 2 * 3600 <= (end - begin).total_seconds() < 2 * 3600 + 600


def test_a_late_execution_of_an_older_week_is_read_when_asked_for_again(bybit_world: BybitWorld) -> None:
    bybit_world.backfill()
    bybit_world.fake.add([execution("forgotten", days_ago(20))])
    bybit_world.backfill()
    assert bybit_world.landed() == {}
    bybit_world.execute("truncate staging.bybit_windows")
    bybit_world.backfill()
    assert list(bybit_world.landed()) == ["forgotten"]


def test_a_backfill_that_is_killed_goes_on_where_it_was(bybit_world: BybitWorld) -> None:
    start, end = days_ago(60), days_ago(0.1)
    bybit_world.fake.generate(COUNT, start, end)
    draw = random.Random(4)
    bybit_world.run("warehouse", "init")
    backfill = ("bybit", "backfill", "--months", "2")
    bybit_world.settings["BYBIT_REQUESTS_PER_SECOND"] = "60"
    kills = 0
    while kills < 6:
        process = bybit_world.start(*backfill)
        patience = draw.randrange(1, 6)  # requests it may send
        sent = 0
        while process.poll() is None and sent < patience:
            sent += len(bybit_world.fake.requests())
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
        assert_landed_is_part_of(bybit_world, expected(start, end))
    assert kills >= 3
    bybit_world.bybit(*backfill[1:])
    assert bybit_world.landed() == expected(start, end)
    statuses = dict(
        bybit_world.query("select status, count(*) from ops.sync_runs where command = 'bybit backfill' group by status")
    )
    assert statuses.pop("done") == 1
    assert statuses.keys() == {"interrupted"}


def assert_landed_is_part_of(world: BybitWorld, whole: dict[str, tuple[str, dict[str, Any]]]) -> None:
    """Each week that counts as read has all of its executions, and each of them is as it should be."""
    landed = world.landed()
    assert all(whole[key] == found for key, found in landed.items())
    for start, until in world.query(
        "select extract(epoch from window_start) * 1000, extract(epoch from read_until) * 1000"
        " from staging.bybit_windows"
    ):
        due = {key for key, (_, item) in whole.items() if start <= int(item["execTime"]) < until}
        assert due <= landed.keys()


def test_each_category_is_landed_and_fails_by_itself(bybit_world: BybitWorld) -> None:
    bybit_world.settings["BYBIT_CATEGORIES"] = "linear,spot"
    bybit_world.fake.add([execution("l1", days_ago(1))])
    bybit_world.fake.add([execution("s1", days_ago(1))], "spot")
    bybit_world.backfill()
    assert {key: category for key, (category, _) in bybit_world.landed().items()} == {"l1": "linear", "s1": "spot"}
    # one refused request: that of linear, which comes first
    bybit_world.fake.add([execution("s2", days_ago(0.01))], "spot")
    bybit_world.fake.next({"code": 10001, "message": "not for this account"})
    printed = bybit_world.bybit("sync", code=1)
    assert "linear: Bybit refuses the request (10001: not for this account)" in printed
    assert "s2" in bybit_world.landed()
    assert bybit_world.last_run()[1] == "partial"
    # a category that was added later has no beginning; the others go on
    bybit_world.settings["BYBIT_CATEGORIES"] = "linear,inverse"
    assert "inverse: nothing has been read yet" in bybit_world.bybit("sync", code=1)


def test_what_breaks_off_in_the_middle_keeps_what_has_landed(bybit_world: BybitWorld) -> None:
    start, end = days_ago(25), days_ago(0.1)
    bybit_world.fake.generate(COUNT, start, end)
    bybit_world.fake.next({}, {}, {}, {}, {"status": 403})
    printed = bybit_world.backfill(code=1)
    assert "Wait ten minutes" in printed
    landed = bybit_world.landed()
    assert 0 < len(landed) < COUNT
    assert bybit_world.last_run()[1:4] == ("partial", len(landed), len(landed))
    bybit_world.backfill()
    assert bybit_world.landed() == expected(start, end)


def test_whatever_the_type_of_an_execution_it_lands(bybit_world: BybitWorld) -> None:
    types = ("Trade", "Funding", "FutureSpread", "SomethingNew", "")
    items = [execution(f"e{kind}", days_ago(1), execType=kind, orderLinkId="ärgerlich 💥") for kind in types]
    bybit_world.fake.add(items)
    bybit_world.backfill()
    assert bybit_world.landed() == {item["execId"]: ("linear", item) for item in items}


def test_what_cannot_land_is_on_record_until_it_can(bybit_world: BybitWorld) -> None:
    fake, at = bybit_world.fake, days_ago(1)
    sound = execution("sound", at)
    zero = execution("zero", at, symbol="a\0b")
    fake.add([sound, zero])
    fake.add_text(at, json.dumps(execution("undated", at) | {"execTime": str(at // 1000)}))
    fake.add_text(at, json.dumps(execution("nan", at, execPrice=math.nan)))
    fake.add_text(at, json.dumps({"execTime": str(at)}))
    fake.add_text(at, "[1, 2]")
    assert "6 executions read, 1 changed, 5 rejected" in bybit_world.backfill()
    assert bybit_world.landed() == {"sound": ("linear", sound)}
    rejects = (
        "select column_name, reason, left(row_key, 7), original from ops.rejected_rows"
        " where source = 'bybit' and entity = 'linear' and resolved_at is null order by 1, 2, 3"
    )
    found = bybit_world.query(rejects)
    assert [each[:3] for each in found] == [
        ("execId", "no valid execId", "sha256:"),
        ("execId", "the item is not an object", "sha256:"),
        ("execTime", "not Unix milliseconds between 2000 and 2100", "undated"),
        ("payload", "not valid JSON for Postgres", "nan"),
        ("payload", "not valid JSON for Postgres", "zero"),
    ]
    assert json.loads(found[-1][3]) == zero

    stamped = "select row_key, extracted_at, xmin::text from ops.rejected_rows order by row_key"
    before = bybit_world.query(stamped)
    assert "5 rejected" in bybit_world.backfill()
    assert bybit_world.query(stamped) == before

    fake.add([execution("zero", at, symbol="AB")])
    bybit_world.backfill()
    assert bybit_world.landed().keys() == {"sound", "zero"}
    assert len(bybit_world.query(rejects)) == 4


def test_stamps_rise_when_the_clock_was_set_back(bybit_world: BybitWorld) -> None:
    bybit_world.fake.add([execution("e1", days_ago(1))])
    bybit_world.backfill()
    bybit_world.execute("update ops.sync_runs set extracted_at = '2100-01-01Z'")
    bybit_world.fake.add([execution("e2", days_ago(1))])
    bybit_world.backfill()
    [(stamp,)] = bybit_world.query("select extracted_at from staging.bybit_executions where exec_id = 'e2'")
    assert stamp > datetime(2100, 1, 1, tzinfo=timezone.utc)


def test_the_configured_rate_is_kept(bybit_world: BybitWorld) -> None:
    bybit_world.settings["BYBIT_REQUESTS_PER_SECOND"] = "20"
    bybit_world.fake.generate(COUNT, days_ago(6), days_ago(0.1))
    bybit_world.backfill()
    sent = [at for at, _ in bybit_world.fake.requests()]
    assert len(sent) > 10
    for start in sent:
        # one more than the rate: a request that took longer to arrive than the one after it
        assert sum(start <= at < start + 1 for at in sent) <= 21


def test_two_sources_have_a_lock_each(bybit_world: BybitWorld) -> None:
    bybit_world.backfill()
    with bybit_world.connection() as other, other.cursor() as cursor:
        cursor.execute(f"set application_name = 'tradehouse sync pid 7'; select pg_advisory_lock({lock_key('mt5')})")
        assert "done in" in bybit_world.bybit("sync")
        cursor.execute(
            f"set application_name = 'tradehouse bybit run pid 8'; select pg_advisory_lock({lock_key('bybit')})"
        )
        assert "another run of bybit holds the lock: tradehouse bybit run pid 8" in bybit_world.bybit("sync")


@pytest.mark.only_on("embedded")
def test_a_changed_project_computes_all_trades_anew(bybit_world: BybitWorld) -> None:
    world = bybit_world
    world.fake.add(
        [
            execution("e1", days_ago(3), side="Buy", orderLinkId="shortseller_001-entry-1", execQty="1"),
            execution("e2", days_ago(2), side="Sell", orderLinkId="shortseller_001-signal-1", execQty="1"),
        ]
    )
    world.backfill()
    trades = "select trade_id, net_pnl from trading.completed_trades"
    [before] = world.query(trades)
    world.execute("update trading.completed_trades set net_pnl = 0")
    world.bybit("sync")
    assert world.query(trades) == [(before[0], 0)]  # nothing has landed and nothing has changed
    world.execute("update ops.sync_runs set project_fingerprint = 'another' where project_fingerprint is not null")
    world.bybit("sync")
    assert world.query(trades) == [before]
