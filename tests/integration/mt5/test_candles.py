"""The candle tables equal the oracle after whatever the source does."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from tests.support.collector import bar, series
from tests.support.world import World

EMPTY_VALUE = 1.7976931348623157e308

MONDAY = 1_736_121_600  # 2025-01-06 00:00 UTC
HOUR = 3600

of_the_file = pytest.mark.only_on("embedded")
"""The subject is how the file is read, or a setting: nothing that another Postgres could do differently."""


def test_first_load_of_all_symbols(world: World) -> None:
    for table, _ in world.collector.execute("select name, 1 from sqlite_master where type = 'table'"):
        world.collector.load_many(table, series(MONDAY, 40))
    printed = world.sync_and_check()
    assert "600 rows read, 600 changed" in printed
    assert world.query("select count(*) from eurusd_h1") == [(4,)]


def test_forming_bar_is_revised_until_its_last_revision_lands(world: World) -> None:
    world.collector.write("EURUSD", series(MONDAY, 13))
    world.sync_and_check()
    for close in (1.5, 1.6):
        world.collector.write("EURUSD", [bar(MONDAY + HOUR, close=close, high=2.0, fractals='{"peaks":[9]}')])
        assert "1 changed" in world.sync_and_check()
    assert world.query("select close, fractals->'peaks' from eurusd_h1 order by timestamp desc limit 1") == [(1.6, [9])]


def test_dynamic_columns_move_to_the_newest_row_of_each_table(world: World) -> None:
    world.collector.write("EURUSD", series(MONDAY, 12))
    world.sync_and_check()
    world.collector.write("EURUSD", [bar(MONDAY + HOUR)])
    world.sync_and_check()
    holders = world.query("select timestamp from eurusd_h1 where fractals is not null")
    assert holders == [(datetime(2025, 1, 6, 1, tzinfo=timezone.utc),)]


def test_dynamic_columns_leave_a_row_whose_bar_staging_has_let_go(world: World) -> None:
    world.collector.write("EURUSD", series(MONDAY, 1))
    world.sync_and_check()
    holders = "select extract(epoch from timestamp)::bigint from eurusd_d1 where fractals is not null"
    rows = "select count(*), count(close), count(zigzag) from eurusd_d1"
    assert world.query(holders) == [(MONDAY,)]
    world.execute(
        f"insert into ops.pruned_bars select 'eurusd', timestamp, '' from staging.eurusd where timestamp = {MONDAY};"
        "delete from staging.eurusd"
    )
    # a late bar is no newer row; the row of Monday is as it was
    world.collector.write("EURUSD", [bar(MONDAY - 86_400), bar(MONDAY + 300)])
    world.settings["LOOKBACK_MINUTES"] = "3000"
    world.sync()
    assert world.query(holders) == [(MONDAY,)]
    world.collector.write("EURUSD", [bar(MONDAY + 86_400)])
    world.sync()
    assert world.query(holders) == [(MONDAY + 86_400,)]
    assert world.query(rows) == [(3, 3, 3)]
    # a full refresh finds the same, and mends what an older version left
    world.execute(f"update eurusd_d1 set fractals = '[1]' where timestamp = to_timestamp({MONDAY})")
    assert world.dbt("run", "--full-refresh", "--select", "eurusd_d1").returncode == 0
    assert world.query(holders) == [(MONDAY + 86_400,)]
    assert world.query(rows) == [(3, 3, 3)]


def test_late_rows_and_corrections_within_the_lookback_land(world: World) -> None:
    rows = series(MONDAY, 48)
    late = rows.pop(40)
    world.collector.write("EURUSD", rows)
    world.sync_and_check()
    world.collector.write("EURUSD", [late, bar(MONDAY + 45 * 300, close=1.25, tema=None)])
    assert "2 changed" in world.sync_and_check()


@of_the_file
def test_lookback_is_a_setting(world: World) -> None:
    world.collector.write("EURUSD", series(MONDAY, 48))
    world.sync_and_check()
    world.collector.write("EURUSD", [bar(MONDAY, close=1.25)])
    assert "0 changed" in world.sync()
    world.settings["LOOKBACK_MINUTES"] = "600"
    assert "1 changed" in world.sync_and_check()


def test_rows_beyond_the_cap_are_pruned(small_world: World) -> None:
    world = small_world
    world.collector.load_many("EURUSD", series(MONDAY, 200))
    world.sync_and_check()
    assert world.query("select count(*) from eurusd_m5") == [(20,)]
    world.collector.load_many("EURUSD", series(MONDAY + 200 * 300, 7))
    world.sync_and_check()
    assert world.query("select count(*) from eurusd_m5") == [(20,)]


@of_the_file
def test_the_cap_can_be_raised_and_lowered(world: World) -> None:
    world.collector.load_many("EURUSD", series(MONDAY, 200))
    world.sync_and_check()
    for cap in (50, 120, 30):
        assert f"{cap} rows a candle table" in world.run("warehouse", "max-rows", str(cap)).stdout
        world.cap = cap
        done = world.dbt("run", "--select", "config.materialized:incremental,eurusd_*")
        assert done.returncode == 0, done.stdout
        world.check()
    world.sync("--test")


@of_the_file
def test_an_environment_that_differs_from_the_warehouse_prunes_nothing(small_world: World) -> None:
    world = small_world
    world.collector.write("EURUSD", series(MONDAY, 60))
    world.sync_and_check()
    world.settings["MAX_ROWS_PER_TABLE"] = "5"
    assert "the tables of this warehouse keep 20 rows" in world.sync(code=2)
    world.settings["MAX_ROWS_PER_TABLE"] = ""  # as from another shell: the warehouse's own number holds
    world.sync_and_check()


def test_a_row_older_than_the_cap_is_not_written_and_pruned_again_and_again(small_world: World) -> None:
    world = small_world
    rows = series(MONDAY, 40)
    late = rows.pop(15)
    world.settings["LOOKBACK_MINUTES"] = "600"
    world.collector.write("EURUSD", rows)
    world.sync_and_check()
    world.collector.write("EURUSD", [late])
    world.sync_and_check()
    before = world.query("select xmin::text, ctid::text, timestamp from eurusd_m5 order by timestamp")
    world.sync_and_check()
    assert world.query("select xmin::text, ctid::text, timestamp from eurusd_m5 order by timestamp") == before


@of_the_file
def test_bad_symbol_tables_stop_no_other(world: World) -> None:
    world.collector.drop("AUDJPY")
    world.collector.execute("alter table AUDUSD drop column zigzag")
    world.collector.execute("insert into AUDUSD (timestamp, open, high, low, close) values (60, 1, 1, 1, 1)")
    for table in ("EURUSD", "XAUUSD"):
        world.collector.write(table, series(MONDAY, 3))
    printed = world.sync_and_check(code=1)
    assert "AUDJPY: the file has no table for this symbol" in printed
    assert "AUDUSD: table AUDUSD lacks column zigzag" in printed
    assert "BTCUSD: table BTCUSD has no rows yet" in printed
    assert world.query("select symbol, status from ops.sync_symbols where status <> 'empty' order by symbol") == [
        ("audjpy", "missing"),
        ("audusd", "failed"),
        ("eurusd", "ok"),
        ("xauusd", "ok"),
    ]
    assert world.query("select status from ops.sync_runs order by run_id desc limit 1") == [("partial",)]
    world.collector.create(["AUDJPY"])
    world.collector.execute("alter table AUDUSD add column zigzag text")
    world.sync_and_check()


@of_the_file
def test_a_damaged_table_fails_alone(world: World) -> None:
    for table in ("EURUSD", "GBPUSD", "USDJPY"):
        world.collector.load_many(table, series(MONDAY, 300))
    ((page,),) = world.collector.execute("select rootpage from sqlite_master where name = 'GBPUSD'")
    ((size,),) = world.collector.execute("pragma page_size")
    world.collector.execute("pragma wal_checkpoint(truncate)")
    world.collector.close()
    with world.sqlite_path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    printed = world.sync(code=1)
    assert "GBPUSD: database disk image is malformed" in printed
    assert world.query("select count(*) from eurusd_m5 union all select count(*) from gbpusd_m5") == [(300,), (0,)]


@of_the_file
def test_seconds_are_cut_and_the_newest_row_of_a_minute_counts(world: World) -> None:
    world.collector.write(
        "EURUSD", [bar(MONDAY), bar(MONDAY + 20), bar(MONDAY + 59), bar(MONDAY + 60), bar(MONDAY + 307)]
    )
    world.sync_and_check()
    # the older row of a minute changes nothing, the newest one does
    world.collector.write("EURUSD", [bar(MONDAY + 20, close=9.0), bar(MONDAY + 330, close=8.0)])
    world.sync_and_check()
    assert world.query("select close from eurusd_m5 order by timestamp desc limit 1") == [(8.0,)]


def test_a_bar_that_turns_bad_disappears_and_comes_back_when_it_is_good_again(small_world: World) -> None:
    world = small_world
    rows = series(MONDAY, 25)
    world.collector.write("EURUSD", [*rows, bar(MONDAY + 24 * 300 + 30, close=7.0)])
    world.sync_and_check()
    for turn in (
        [bar(MONDAY + 24 * 300 + 30, close="abc")],  # the older row of that minute takes its place
        [bar(MONDAY + 24 * 300, open=EMPTY_VALUE)],  # now the minute has none
        [bar(MONDAY + 18 * 300, low=float("inf"))],  # one in the middle of a full table
        [bar(MONDAY + 24 * 300, close=1.75), bar(MONDAY + 18 * 300)],
    ):
        world.collector.write("EURUSD", turn)
        world.sync_and_check()
        before = world.query("select xmin::text, timestamp from eurusd_m5 order by timestamp")
        world.sync_and_check()
        assert world.query("select xmin::text, timestamp from eurusd_m5 order by timestamp") == before
    assert world.query("select bar_key, original from ops.rejected_bars") == [(str(MONDAY + 24 * 300 + 30), "abc")]


@of_the_file
def test_resolved_rejects_stay_on_record(world: World) -> None:
    world.collector.write("EURUSD", [bar(MONDAY, tema="abc")])
    world.sync_and_check()
    assert world.query("select original from ops.rejected_bars") == [("abc",)]
    world.collector.write("EURUSD", [bar(MONDAY, tema=1.5)])
    world.sync_and_check()
    assert world.query("select * from ops.rejected_bars") == []
    assert world.query("select original, resolved_at is not null from ops.rejected_rows") == [("abc", True)]


def test_a_bar_from_the_future_does_not_hide_the_present(world: World) -> None:
    tomorrow = int((datetime.now(timezone.utc) + timedelta(days=1)).timestamp()) // 86_400 * 86_400 + 86_400
    world.collector.write("EURUSD", [*series(MONDAY, 3), bar(tomorrow)])
    world.sync_and_check()
    world.collector.write("EURUSD", series(MONDAY + 900, 3))
    world.sync_and_check()
    printed = world.sync("--test", code=1)
    assert "assert_no_candle_in_the_future: Got 9 results" in printed
    # a failed test says nothing against the tables: they need no building again
    assert "0 models built" in world.sync()


@of_the_file
def test_tables_in_another_case_with_a_suffix_or_of_no_symbol(world: World) -> None:
    for table, other in {"EURUSD": "eurusd", "GBPUSD": "GBPUSD.pro", "USDJPY": "usdjpym"}.items():
        world.collector.drop(table)
        world.collector.create([other])
        world.collector.write(other, series(MONDAY, 13))
    world.collector.create(["XAUUSD.raw", "settings"])
    world.collector.write("XAUUSD.raw", [bar(MONDAY, close=99.0)])
    world.collector.write("XAUUSD", series(MONDAY, 2))
    printed = world.sync_and_check()
    assert "ignored tables: XAUUSD.raw, settings" in printed


@of_the_file
def test_two_tables_that_claim_one_symbol_are_not_mixed(world: World) -> None:
    world.collector.drop("EURUSD")
    world.collector.create(["EURUSD.i", "EURUSDm"])
    world.collector.write("EURUSDm", series(MONDAY, 3))
    assert "EURUSD: several tables claim this symbol: EURUSD.i, EURUSDm" in world.sync_and_check(code=1)


@of_the_file
def test_a_table_without_primary_key_keeps_the_row_written_last(world: World) -> None:
    world.collector.execute("create table copy as select * from EURUSD")
    world.collector.drop("EURUSD")
    world.collector.execute("alter table copy rename to EURUSD")
    world.collector.write("EURUSD", [bar(MONDAY, close=1.5)])
    world.collector.write("EURUSD", [bar(MONDAY, close=1.6)])
    world.sync()
    assert world.query("select close from eurusd_m5") == [(1.6,)]
    world.collector.execute(
        "create table copy (timestamp, open, high, low, close, fractals, horizontal_trendlines,"
        " diagonal_trendlines, momentum_candles, keltner_channels, tema, hrma, smma, zigzag)"
    )
    world.collector.execute("insert into copy select * from EURUSD")
    world.collector.drop("EURUSD")
    world.collector.execute("alter table copy rename to EURUSD")
    world.collector.write("EURUSD", [bar(MONDAY) | {"timestamp": float(MONDAY), "close": 1.7}])
    world.sync()
    assert world.query("select close from eurusd_m5") == [(1.7,)]


@of_the_file
def test_no_row_is_lost_where_an_attached_scan_would_lose_one(world: World) -> None:
    world.collector.write("EURUSD", [bar(timestamp) for timestamp in (1, 2, 3, 122_880)])
    world.sync_and_check()
    assert world.query("select timestamp from staging.eurusd order by 1") == [(1,), (2,), (3,), (122_880,)]


def test_days_begin_at_midnight_utc_wherever_machine_and_server_are(world: World) -> None:
    world.collector.load_many("EURUSD", series(MONDAY - 86_400, 3 * 288))
    world.sync_and_check()
    days = world.query("select extract(epoch from timestamp)::bigint from eurusd_d1 order by 1")
    assert days == [(MONDAY - 86_400,), (MONDAY,), (MONDAY + 86_400,)]
