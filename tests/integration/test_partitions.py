"""Monthly partitions: made ahead by a function, and filled by the upsert materialization."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import date

import psycopg2
import psycopg2.extensions
import pytest

from extract.schema import prepare
from extract.warehouse import Warehouse
from tests.conftest import Server
from tests.support.upstox_world import UpstoxWorld, fill, months_ago

MAKE = "select ops.make_month_partitions('market.ticks', %s, %s)"


@pytest.fixture
def connection(server: Server) -> Iterator[psycopg2.extensions.connection]:
    """A warehouse with a partitioned table that has no partitions."""
    uri = server.fresh_database("template1")
    with closing(psycopg2.connect(uri)) as connection:
        connection.autocommit = True
        prepare(Warehouse(uri, embedded=False), connection, None)
        with connection.cursor() as cursor:
            cursor.execute(
                "set timezone = 'Asia/Tokyo';"
                " create table market.ticks (id bigint, timestamp timestamptz, primary key (id, timestamp))"
                " partition by range (timestamp)"
            )
        yield connection


def test_partitions_are_made_once_and_bounded_in_utc(connection: psycopg2.extensions.connection) -> None:
    with connection.cursor() as cursor:
        for first, last, made in (
            (date(2024, 11, 30), date(2025, 2, 1), 4),
            (date(2024, 11, 1), date(2025, 3, 31), 1),
            (None, date(2025, 3, 31), 0),
            (date(2025, 3, 31), None, 0),
            (date(2025, 3, 31), date(2025, 2, 1), 0),
        ):
            cursor.execute(MAKE, (first, last))
            assert cursor.fetchone() == (made,)
        cursor.execute(
            "select inhrelid::regclass::text from pg_inherits where inhparent = 'market.ticks'::regclass order by 1"
        )
        assert [name for (name,) in cursor.fetchall()] == [
            f"market.ticks_{month}" for month in ("2024_11", "2024_12", "2025_01", "2025_02", "2025_03")
        ]
        cursor.execute(
            "insert into market.ticks values (1, '2024-12-31 23:59:59.999+00'), (1, '2025-01-01 00:00+00')"
            " returning tableoid::regclass::text"
        )
        assert cursor.fetchall() == [("market.ticks_2024_12",), ("market.ticks_2025_01",)]
        # what attaches also has the key
        with pytest.raises(psycopg2.errors.UniqueViolation):
            cursor.execute("insert into market.ticks values (1, '2025-01-01 00:00+00')")


def test_a_reader_of_the_table_keeps_nobody_waiting(connection: psycopg2.extensions.connection) -> None:
    with (
        closing(psycopg2.connect(connection.dsn, password=connection.info.password)) as reader,
        connection.cursor() as cursor,
    ):
        with reader.cursor() as reading:
            reading.execute("select count(*) from market.ticks")
        cursor.execute("set lock_timeout = '5s'")
        cursor.execute(MAKE, (date(2025, 1, 1), date(2025, 1, 1)))
        assert cursor.fetchone() == (1,)


def test_another_table_is_refused(connection: psycopg2.extensions.connection) -> None:
    with connection.cursor() as cursor:
        cursor.execute("create table market.plain (timestamp timestamptz)")
        with pytest.raises(psycopg2.errors.WrongObjectType, match=r"market\.plain is not partitioned by range"):
            cursor.execute("select ops.make_month_partitions('market.plain', '2025-01-01', '2025-01-01')")


def test_candle_data_is_partitioned_and_not_rebuilt(upstox_world: UpstoxWorld) -> None:
    world = upstox_world
    fill(world.fake, months_ago(1))
    world.sync()
    before = world.tables()
    assert before["candles"]
    [(kind, misplaced)] = world.query(
        "select (select relkind from pg_class where oid = 'market.candle_data'::regclass),"
        " (select count(*) from market.candle_data where tableoid::regclass::text"
        " <> 'market.candle_data_' || to_char(timestamp at time zone 'UTC', 'YYYY_MM'))"
    )
    assert (kind, misplaced) == ("p", 0)
    # a full refresh leaves it, and what is computed from staging again is the same
    done = world.dbt("build", "--full-refresh", "--select", "tag:upstox")
    assert done.returncode == 0, done.stdout
    assert world.tables() == before
    world.execute("update staging.upstox_windows set extracted_at = clock_timestamp()")
    world.execute("select refresh.candle_data()")
    assert world.tables() == before
    # a table of another shape is an error that says so, not a plain table in its place
    world.execute("alter table market.candle_data alter column oi type numeric")
    done = world.dbt("run", "--full-refresh", "--select", "candle_data")
    assert "does not fit the model's contract" in done.stdout
