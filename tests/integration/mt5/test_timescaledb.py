"""sql/timescaledb_setup.sql: candle tables as hypertables, and plain ones where TimescaleDB cannot be had."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import psycopg2
import pytest
import yaml

from extract.settings import load_project
from tests.conftest import SMALL_CAP, Server, world_on
from tests.support.collector import bar, series
from tests.support.servers import DEBIAN_PASSWORD, administer, debian_postgres, timescaledb_binaries
from tests.support.world import ROOT, World

MONDAY = 1_736_121_600  # 2025-01-06 00:00 UTC
TEN_DAYS = 10 * 86_400
TABLES = len(load_project().candle_tables)
SCRIPT = (ROOT / "sql" / "timescaledb_setup.sql").read_text(encoding="utf-8")
CHUNK_DAYS = {"M5": 14, "M15": 45, "M30": 90, "H1": 180, "H2": 365, "H4": 730, "H8": 1460, "H12": 2190, "D1": 3650}
ROW_VERSIONS = "select tableoid::regclass::text, ctid::text, xmin::text from eurusd_m5 order by timestamp"
PIPELINE = "timescaledb_pipeline"


def set_up(uri: str, compress_after: str = "") -> list[str]:
    """Run the script and return what it had to say."""
    with closing(psycopg2.connect(uri, options=f"-c tradehouse.compress_after={compress_after}")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(SCRIPT)
        return [notice.strip() for notice in connection.notices]


def intervals(world: World) -> dict[str, timedelta]:
    """Chunk interval of each hypertable."""
    return dict(world.query("select hypertable_name, time_interval from timescaledb_information.dimensions"))


def edition(world: World) -> str:
    """`timescale`, or `apache`, which has no compression."""
    [(name,)] = world.query("select current_setting('timescaledb.license')")
    return str(name)


@pytest.fixture
def timescale_world(timescaledb_server: Server, tmp_path: Path) -> Iterator[World]:
    """Plain candle tables of a small row cap, TimescaleDB within reach."""
    with world_on(timescaledb_server, tmp_path, SMALL_CAP) as world:
        yield world


def test_every_timeframe_has_a_chunk_interval() -> None:
    project = yaml.safe_load((ROOT / "dbt_project" / "dbt_project.yml").read_text(encoding="utf-8"))
    in_script = re.findall(r"\('([mhd]\d+)', interval '(\d+) days'\)", SCRIPT)
    assert {name.upper(): int(days) for name, days in in_script} == CHUNK_DAYS
    assert CHUNK_DAYS.keys() == project["vars"]["timeframes"].keys()


def test_a_server_without_timescaledb_keeps_plain_tables(world: World) -> None:
    catalog = "select oid, xmin::text from pg_class union all select oid, xmin::text from pg_extension order by 1"
    before = world.query(catalog)
    said = set_up(world.uri)
    [(is_installed,)] = world.query("select count(*) from pg_available_extensions where name = 'timescaledb'")
    assert len(said) == 1
    assert ("is not preloaded" if is_installed else "is not installed on this server") in said[0]
    assert "the candle tables stay plain" in said[0]
    assert world.query(catalog) == before


def test_files_without_preloading_are_only_reported(tmp_path: Path) -> None:
    binaries = timescaledb_binaries()
    if binaries is None:
        pytest.skip("TimescaleDB is not installed")
    with debian_postgres(tmp_path / "postgres", binaries) as uri:
        [said] = set_up(uri.format(database="postgres"))
    assert "TimescaleDB is not preloaded; the candle tables stay plain" in said
    assert "HINT:  Add timescaledb to shared_preload_libraries" in said


def test_tables_become_hypertables_once(timescale_world: World) -> None:
    world = timescale_world
    assert set_up(world.uri)[-1] == f"NOTICE:  {TABLES} hypertables, {TABLES} changed"
    timeframes = {table: table.rsplit("_", 1)[1].upper() for table in intervals(world)}
    assert intervals(world) == {table: timedelta(days=CHUNK_DAYS[name]) for table, name in timeframes.items()}
    catalog = "select oid, xmin::text from pg_class order by 1"
    before = world.query(catalog)
    assert set_up(world.uri) == [f"NOTICE:  {TABLES} hypertables, 0 changed"]
    assert world.query(catalog) == before

    world.execute("select set_chunk_time_interval('eurusd_h1', interval '1 day')")
    world.execute("create table public.notes_h1 (timestamp timestamptz primary key)")  # somebody else's
    assert set_up(world.uri) == [f"NOTICE:  {TABLES} hypertables, 1 changed"]
    assert intervals(world)["eurusd_h1"] == timedelta(days=180)


def test_the_script_comes_too_early(timescaledb_server: Server) -> None:
    assert set_up(timescaledb_server.fresh_database("template1"))[-1].startswith("NOTICE:  there are no candle tables")


def test_the_pipeline_works_on_hypertables(timescale_world: World) -> None:
    world = timescale_world
    rows = series(MONDAY, 40, TEN_DAYS)
    late = rows.pop(30)
    world.collector.write("EURUSD", rows)
    world.collector.write("BTCUSD", series(MONDAY, 200))
    world.sync_and_check()
    set_up(world.uri)
    world.check()
    [(chunks,)] = world.query("select count(*) from show_chunks('eurusd_m5')")
    assert chunks > 10

    # revised and new bars, the dynamic columns, the prune
    newest = MONDAY + 39 * TEN_DAYS
    world.settings["LOOKBACK_MINUTES"] = str(TEN_DAYS // 60 * 12)
    for close in (1.5, 1.6):
        world.collector.write("EURUSD", [bar(newest, close=close, high=2.0)])
        world.sync_and_check()
    world.collector.write("EURUSD", [late, *series(newest + TEN_DAYS, 9, TEN_DAYS)])
    world.sync_and_check()
    assert world.query("select count(*), count(fractals) from eurusd_m5") == [(SMALL_CAP, 1)]
    # empty chunks go, but for one that ends between the newest row pruned and the oldest kept: it goes next time
    [(empty,)] = world.query(
        "select count(*) from timescaledb_information.chunks"
        " where hypertable_name = 'eurusd_m5' and range_end <= (select min(timestamp) from eurusd_m5)"
    )
    assert empty <= 1
    assert "20" in world.run("query", "select count(*) as rows from wh.eurusd_m5").stdout

    # nothing new, nothing rewritten
    versions = world.query(ROW_VERSIONS)
    assert "0 changed" in world.sync()
    refreshed = world.dbt("run", "--full-refresh", "--select", "eurusd_m5", "eurusd_h1")
    assert refreshed.returncode == 0, refreshed.stdout
    assert world.query(ROW_VERSIONS) == versions

    # a full refresh repairs; a table of another shape is rebuilt as a plain one
    world.execute(
        "update eurusd_m5 set close = 9; delete from eurusd_h1; alter table eurusd_d1 alter close drop not null"
    )
    rebuilt = world.dbt("run", "--full-refresh", "--select", "eurusd_m5", "eurusd_h1", "eurusd_d1", "candles")
    assert rebuilt.returncode == 0, rebuilt.stdout
    world.check()
    assert len(intervals(world)) == 134
    assert set_up(world.uri) == [f"NOTICE:  {TABLES} hypertables, 1 changed"]
    world.check()


def test_the_pipelines_login_is_enough_but_for_the_extension(
    timescaledb_server: Server, timescale_world: World
) -> None:
    world, superuser = timescale_world, timescale_world.uri
    roles = (ROOT / "sql" / "roles.sql").read_text(encoding="utf-8")
    groups = ("tradehouse_loader", "tradehouse_transformer", "tradehouse_reader")
    world.uri = timescaledb_server.fresh_database("template1")
    try:
        world.execute(roles)
        world.execute(
            f"create role {PIPELINE} login password '{DEBIAN_PASSWORD}';"
            f"grant tradehouse_loader, tradehouse_transformer to {PIPELINE}"
        )
        world.execute(roles)
        world.uri = superuser.replace("//postgres", f"//{PIPELINE}")
        world.collector.write("EURUSD", series(MONDAY, 30, TEN_DAYS))
        world.sync_and_check()

        [said] = set_up(world.uri)
        assert f"{PIPELINE} may not create the extension timescaledb; the candle tables stay plain" in said
        assert "HINT:  The owner of the database or a superuser runs: create extension timescaledb" in said

        with closing(psycopg2.connect(superuser)) as connection, connection.cursor() as cursor:
            cursor.execute("create extension timescaledb")
            connection.commit()
        assert set_up(world.uri) == [f"NOTICE:  {TABLES} hypertables, {TABLES} changed"]
        world.collector.write("EURUSD", series(MONDAY + 30 * TEN_DAYS, 5, TEN_DAYS))
        world.sync_and_check()
        # a chunk is a table of another schema; the reader needs no right on it
        assert world.query("select count(*) from show_chunks('eurusd_m5')") > [(10,)]
        with closing(psycopg2.connect(superuser)) as connection, connection.cursor() as cursor:
            cursor.execute("set role tradehouse_reader; select count(*) from eurusd_m5")
            assert cursor.fetchall() == [(SMALL_CAP,)]
    finally:
        database = psycopg2.extensions.parse_dsn(superuser)["dbname"]
        administer(
            timescaledb_server.uri,
            [f"drop database {database} with (force)", *(f"drop role {role}" for role in (PIPELINE, *groups))],
        )


def test_compression_is_asked_for(timescale_world: World) -> None:
    world = timescale_world
    world.collector.write("EURUSD", series(MONDAY, 40, TEN_DAYS))
    world.sync()
    said = set_up(world.uri, "P30D")
    assert said[-1] == f"NOTICE:  {TABLES} hypertables, {TABLES} changed"
    compressed = "select count(*) from timescaledb_information.hypertables where compression_enabled"
    if edition(world) == "apache":
        assert "TimescaleDB's Apache edition cannot compress; tradehouse.compress_after is passed over" in said[-2]
        assert world.query(compressed) == [(0,)]
        return

    policies = (
        "select config ->> 'compress_after', count(*) from timescaledb_information.jobs"
        " where proc_name = 'policy_compression' group by 1"
    )
    assert world.query(compressed) == [(TABLES,)]
    assert set_up(world.uri, "P30D") == set_up(world.uri) == [f"NOTICE:  {TABLES} hypertables, 0 changed"]
    assert world.query(policies) == [("30 days", TABLES)]
    assert set_up(world.uri, "P60D") == [f"NOTICE:  {TABLES} hypertables, {TABLES} changed"]
    assert world.query(policies) == [("60 days", TABLES)]
    assert world.query("select count(compress_chunk(c)) from show_chunks('eurusd_m5') as c") > [(10,)]
    world.check()
    world.settings["LOOKBACK_MINUTES"] = str(TEN_DAYS // 60 * 12)
    world.collector.write(
        "EURUSD", [bar(MONDAY + 35 * TEN_DAYS, close=1.5), *series(MONDAY + 40 * TEN_DAYS, 9, TEN_DAYS)]
    )
    world.sync_and_check()


BATCHES = """
    select coalesce(sum((xpath(
        '/row/rows/text()',
        query_to_xml(format('select count(*) as rows from %I.%I', inner_chunk.schema_name, inner_chunk.table_name),
            false, true, '')
    ))[1]::text::integer), 0)::integer
    from _timescaledb_catalog.hypertable
    inner join _timescaledb_catalog.chunk on chunk.hypertable_id = hypertable.id
    inner join _timescaledb_catalog.chunk as inner_chunk on inner_chunk.id = chunk.compressed_chunk_id
    where hypertable.table_name = 'eurusd_m5'
"""


@pytest.fixture
def compressed_world(timescale_world: World) -> World:
    """A world with all of EURUSD's M5 candles compressed, each chunk a batch; for the full edition alone."""
    world = timescale_world
    world.collector.write("EURUSD", series(MONDAY, 20, TEN_DAYS))
    world.sync()
    set_up(world.uri, "P30D")
    if edition(world) == "apache":
        pytest.skip("this edition of TimescaleDB has no compression")
    world.execute("select compress_chunk(c, if_not_compressed => true) from show_chunks('eurusd_m5') as c")
    world.settings["LOOKBACK_MINUTES"] = str(TEN_DAYS // 60 * 30)
    return world


def test_a_revised_bar_and_a_reject_decompress_their_own_batches(compressed_world: World) -> None:
    world = compressed_world
    [(before,)] = world.query(BATCHES)
    assert before > 8
    world.collector.write("EURUSD", [bar(MONDAY + 5 * TEN_DAYS, close=1.5), bar(MONDAY + 12 * TEN_DAYS, close="bad")])
    world.sync_and_check()
    [(after,)] = world.query(BATCHES)
    assert before - 4 <= after < before
    assert world.query("select count(*) from eurusd_m5") == [(19,)]
    # nothing new touches nothing
    world.sync_and_check()
    assert world.query(BATCHES) == [(after,)]


@pytest.mark.parametrize("command", ["increment", "full refresh"])
def test_rejects_leave_a_table_larger_than_the_limit_of_decompression(compressed_world: World, command: str) -> None:
    world = compressed_world
    database = psycopg2.extensions.parse_dsn(world.uri)["dbname"]
    world.execute(f"alter database {database} set timescaledb.max_tuples_decompressed_per_dml_transaction = 8")
    if command == "increment":
        world.collector.write("EURUSD", [bar(MONDAY + n * TEN_DAYS, close="bad") for n in (4, 15)])
        world.sync_and_check()
    else:
        world.execute(
            f"delete from staging.eurusd where timestamp in ({MONDAY + 4 * TEN_DAYS}, {MONDAY + 15 * TEN_DAYS})"
        )
        refreshed = world.dbt("run", "--full-refresh", "--select", "eurusd_m5")
        assert refreshed.returncode == 0, refreshed.stdout
    assert world.query("select count(*) from eurusd_m5") == [(18,)]


def test_a_reader_of_an_old_chunk_delays_its_end_and_no_tick(timescale_world: World) -> None:
    world = timescale_world
    world.collector.write("EURUSD", series(MONDAY, SMALL_CAP, TEN_DAYS))
    world.sync()
    set_up(world.uri)
    chunks = "select count(*) from show_chunks('eurusd_m5', older_than => (select min(timestamp) from eurusd_m5))"
    newest = MONDAY + SMALL_CAP * TEN_DAYS
    with world.connection() as reading, reading.cursor() as reader:
        reader.execute("select count(*) from eurusd_m5")
        world.collector.write("EURUSD", series(newest, 5, TEN_DAYS))
        world.sync_and_check()
        assert world.query(chunks) > [(1,)]
    world.collector.write("EURUSD", series(newest + 5 * TEN_DAYS, 1, TEN_DAYS))
    world.sync_and_check()
    # one may end between the newest row pruned and the oldest kept: it goes next time
    assert world.query(chunks) <= [(1,)]
