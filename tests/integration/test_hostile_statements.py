"""Statements that reach for files and servers: none of them reads, writes or connects anywhere."""

from __future__ import annotations

import re
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from extract.errors import QueryError
from extract.settings import Settings, load_project
from extract.warehouse import Warehouse
from serve.inspection import Inspection, open_inspection
from tests.support.collector import bar
from tests.support.inspection import MONDAY, piped
from tests.support.world import World

pytestmark = pytest.mark.only_on("embedded")

# IMPORT is expanded by the parser, which may open no file
REFUSAL = re.compile("does not run here|schema.sql. - file system operations are disabled")
SECRET = "the content of a file"
DSN = "host=127.0.0.1 port={port} user=x password=x dbname=x connect_timeout=2"
# what gives rows, by name, function or address
SOURCES = (
    f"postgres_scan('{DSN}', 'public', 't')",
    f"postgres_scan_pushdown('{DSN}', 'public', 't')",
    f"POSTGRES_SCAN('{DSN}', 'public', 't')",
    f"main.postgres_scan('{DSN}', 'public', 't')",
    f"system.main.postgres_scan('{DSN}', 'public', 't')",
    f"postgres_attach('{DSN}')",
    "postgres_query('wh', 'select 1')",
    "postgres_execute('wh', 'select 1')",
    "sqlite_scan('{file}', 'secrets')",
    "\"sqlite_scan\"('{file}', 'secrets')",
    "sqlite_attach('{file}')",
    "sqlite_query('mt5_file', 'select 1')",
    "read_csv('{file}')",
    "read_csv_auto('{file}')",
    "sniff_csv('{file}')",
    "read_json('{file}')",
    "read_json_auto('{file}')",
    "read_json_objects('{file}')",
    "read_ndjson('{file}')",
    "read_parquet('{file}')",
    "parquet_scan('http://127.0.0.1:{port}/x')",
    "parquet_metadata('{file}')",
    "parquet_schema('{file}')",
    "read_text('{file}')",
    "read_blob('{file}')",
    "read_duckdb('{file}')",
    "glob('/*')",
    "query('from read_text(''{file}'')')",
    "query_table('{file}')",
    "query_table(['{file}'])",
    "json_execute_serialized_sql(json_serialize_sql('from read_text(''{file}'')'))",
    "pragma_table_info('{file}')",
    "enable_logging(storage := 'file', storage_path := '{directory}/log')",
    "pandas_scan(1)",
    "arrow_scan(1, 1, 1)",
    "'{file}'",
    "'{directory}/*.csv'",
    "'http://127.0.0.1:{port}/x.parquet'",
    "'https://127.0.0.1:{port}/x.csv'",
    '"{file}"',
    "mt5_file.secrets",
    "mt5_file.EURUSD",
    "temp.main.t",
    "memory.main.t",
    "settings",
)
PLACES = (
    "from {source}",
    "FROM/**/{source} -- a comment",
    "describe from {source}",
    "summarize from {source}",
    "select * from (select * from {source}) as a, range(1) as b",
    "with a as (from {source}) select 1 from a",
    "with a as (select 1), b as (with c as (from {source}) from c) select * from a",
    "select (select count(*) from {source})",
    "select 1 where exists (from {source})",
    "select 1 as i union all select 1 from {source}",
    "from range(1) as r, lateral (select * from {source})",
    "select 1 from wh.eurusd_h1 where timestamp in (select timestamp from {source})",
    "select 1 order by (select count(*) from {source})",
    "from (values ((select count(*) from {source})))",
    "select [x for x in [(select count(*) from {source})]]",
    "select case when false then (select 1 from {source}) end",
    # the name of the WITH is not in scope where the source stands
    "select * from (with t as (select 1), settings as (select 1) select * from t) as a, {source}",
)
STATEMENTS = (
    "attach '{file}' as other",
    f"attach '{DSN}' as other (type postgres)",
    "attach ':memory:' as other",
    "detach wh",
    "use wh",
    "copy (select 1) to '{directory}/out.csv'",
    "copy wh.eurusd_h1 to '{directory}/out.parquet'",
    "copy wh.eurusd_h1 from '{file}'",
    "copy from database wh to mt5",
    "export database '{directory}/out'",
    "import database '{directory}'",
    "install httpfs",
    "install httpfs from 'http://127.0.0.1:{port}'",
    "load '{file}'",
    "load httpfs",
    "set enable_external_access = true",
    "reset enable_external_access",
    "set variable a = 1",
    "pragma database_list",
    "pragma import_database('{directory}')",
    "pragma table_info('{file}')",
    "pragma enable_profiling",
    "call postgres_attach('{directory}')",
    "call enable_logging(storage_path = '{directory}/log')",
    "create table t as select 1",
    "create view v as from '{file}'",
    "create macro m() as table from '{file}'",
    "create secret s (type postgres, host '127.0.0.1', port {port})",
    "create temp table t as from '{file}'",
    "prepare p as from '{file}'",
    "execute p",
    "explain from '{file}'",
    "explain analyze from '{file}'",
    "begin",
    "commit",
    "vacuum",
    "checkpoint",
    "insert into wh.eurusd_h1 from wh.eurusd_h1",
    "merge into wh.eurusd_h1 using wh.eurusd_h1 as b on true when matched then delete",
    "truncate wh.eurusd_h1",
    "alter table wh.eurusd_h1 add column i int",
    "drop table wh.eurusd_h1",
)
ALLOWED = (
    "from mt5.EURUSD",
    'from "mt5"."main"."EURUSD"',
    "select count(*) from wh.public.eurusd_h1",
    "from WH.eurusd_h1",
    "with A as (from mt5.bars) select count(*) from a join a as b using (timestamp)",
    "with recursive r as (select 1 as i union all select i + 1 from r where i < 3) from r",
    "describe wh.eurusd_h1",
    "summarize mt5.bars",
    "from range(3) as r, unnest([1, 2]) as u",
    "pivot mt5.bars on symbol in ('eurusd') using count(*)",
    "values (1)",
    "from information_schema.tables limit 1",
    "from duckdb_tables() limit 1",
    "show tables",
    "show databases",
)


@contextmanager
def listener() -> Iterator[tuple[int, list[str]]]:
    """A port of loopback on which nobody should call, and, afterwards, who did."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(128)
        callers: list[str] = []
        yield int(server.getsockname()[1]), callers
        server.setblocking(False)
        try:
            while True:
                connection, caller = server.accept()
                connection.close()
                callers.append(str(caller))
        except BlockingIOError:
            pass


def hostile(directory: Path, port: int) -> list[str]:
    """All of them, about a SQLite file that exists."""
    file = directory / "secret.db"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("create table secrets (content text)")
        connection.execute("insert into secrets values (?)", (SECRET,))
    found = [place.format(source=source) for source in SOURCES for place in PLACES]
    return [each.format(file=file, directory=directory, port=port) for each in [*found, *STATEMENTS]]


@contextmanager
def inspection(world: World) -> Iterator[Inspection]:
    """A session in this process, as the command opens it."""
    settings = Settings(sqlite_path=world.sqlite_path, tradehouse_home=world.home)
    with open_inspection(settings, load_project(), Warehouse(world.uri, embedded=False)) as opened:
        yield opened


def test_hostile_statements_are_refused_before_anything_is_opened(world: World) -> None:
    world.collector.write("EURUSD", [bar(MONDAY)])
    with listener() as (port, callers):
        statements = hostile(world.directory, port)
        files = sorted(world.directory.iterdir())
        assert len(statements) > 700
        with inspection(world) as opened:
            for statement in statements:
                with pytest.raises(QueryError) as refused:
                    opened.run(statement)
                assert REFUSAL.search(str(refused.value)), statement
                assert SECRET not in str(refused.value)
        assert "Traceback" not in (done := piped(world, "\n;\n".join([*statements, ""]))).stdout + done.stderr
        assert SECRET not in done.stdout + done.stderr
        assert len(REFUSAL.findall(done.stderr)) == len(statements)
        assert sorted(world.directory.iterdir()) == files
    assert callers == []


def test_tables_of_the_file_and_the_warehouse_are_read(world: World) -> None:
    world.collector.write("EURUSD", [bar(MONDAY)])
    with inspection(world) as opened:
        for statement in ALLOWED:
            opened.run(statement).fetchall()


@pytest.mark.parametrize(
    ("depth", "says"),
    [
        (900, "the statement is nested too deeply"),
        (5000, 'Parser Error: memory exhausted at or near "abs"'),
    ],
)
def test_nesting_without_end_is_one_line(world: World, depth: int, says: str) -> None:
    with inspection(world) as opened, pytest.raises(QueryError) as refused:
        opened.run("select " + "abs(" * depth + "1" + ")" * depth)
    assert str(refused.value) == says
