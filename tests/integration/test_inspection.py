"""`tradehouse query` and `tradehouse shell`: right answers, and no way to write."""

from __future__ import annotations

import csv
import io
import json
import math
import struct
from datetime import datetime, timezone
from decimal import Decimal
from urllib.parse import quote

import duckdb
import pytest

from serve.named_queries import named_queries
from tests.support.collector import bar, series
from tests.support.inspection import MONDAY, piped, refusal, rows
from tests.support.servers import DEBIAN_PASSWORD
from tests.support.world import World

pytestmark = pytest.mark.only_on("embedded")

# --- right answers -----------------------------------------------------------------------------


def test_no_row_is_lost_where_the_attached_scan_loses_one(world: World) -> None:
    world.collector.write("EURUSD", [bar(timestamp) for timestamp in (1, 2, 3, 122_880)])
    assert rows(world, "select count(*) as n, max(timestamp) as newest from mt5.EURUSD") == [
        {"n": 4, "newest": 122_880}
    ]
    assert rows(world, "select count(*) as n from mt5.bars where symbol = 'eurusd'") == [{"n": 4}]
    assert "read mt5.<table> instead" in refusal(world, "select count(*) from mt5_file.EURUSD")


def test_doubles_come_out_bit_by_bit(world: World) -> None:
    values = [0.1 + 0.2, math.pi * 1e300, 5e-324, 1.7976931348623157e308, 1 / 3, 1.1000000000000003e-200]
    values += [value for (value,) in struct.iter_unpack("<d", bytes(range(7, 7 + 8 * 12)))]
    world.collector.write("EURUSD", [bar(MONDAY + n * 300, tema=value) for n, value in enumerate(values)])
    found = rows(world, "select tema from mt5.EURUSD order by timestamp")
    assert [struct.pack("<d", row["tema"]) for row in found] == [struct.pack("<d", value) for value in values]
    printed = world.run("query", "select tema from mt5.EURUSD order by timestamp", "--format", "csv").stdout
    assert [struct.pack("<d", float(line)) for line in printed.splitlines()[1:]] == [
        struct.pack("<d", value) for value in values
    ]


def test_what_is_not_of_the_columns_type_is_null_and_text_stays_text(world: World) -> None:
    world.collector.write("EURUSD", [bar(MONDAY, open="much", high=b"\x01", tema=None, fractals="{it's")])
    assert rows(world, "select open, high, tema, fractals from mt5.eurusd") == [
        {"open": None, "high": None, "tema": None, "fractals": "{it's"}
    ]


@pytest.mark.only_on("embedded", "debian")
def test_file_and_warehouse_in_one_query(world: World) -> None:
    world.collector.load_many("EURUSD", series(MONDAY, 13))
    world.sync()
    found = rows(
        world,
        "select count(*) as n, count(*) filter (h.close = b.close) as same, min(h.timestamp) as first"
        " from wh.eurusd_h1 as h join mt5.EURUSD as b on epoch(h.timestamp) = b.timestamp",
    )
    assert found == [{"n": 2, "same": 2, "first": "2025-01-06T00:00:00+00:00"}]


@pytest.mark.parametrize("path", ["", "nowhere.db"], ids=["unset", "missing"])
def test_without_the_file_the_warehouse_still_answers(world: World, path: str) -> None:
    world.settings["SQLITE_PATH"] = path
    done = world.run("query", "select count(*) as n from wh.eurusd_h1", "--format", "csv")
    assert (done.returncode, done.stdout) == (0, "n\n0\n")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("note: SQLITE_PATH")
    assert "only the warehouse (wh) can be read" in done.stderr
    assert world.run("query", "from mt5.EURUSD").returncode == 2


# --- nothing can write -------------------------------------------------------------------------


def test_an_upper_case_symbol_is_answered_with_a_note(world: World) -> None:
    world.collector.write("EURUSD", [bar(MONDAY)])
    world.sync()
    note = "note: symbols of candles are lower case: 'eurusd' finds what 'EURUSD' does not\n"
    for relation in ("wh.candles", "mt5.bars"):
        done = world.run("query", f"select count(*) as n from {relation} where symbol = 'EURUSD'", "--format", "csv")
        assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["n", "0"], note)
    quiet = ("select 'EURUSD' as name", "select count(*) from wh.candles where symbol = 'eurusd'")
    assert [world.run("query", each).stderr for each in quiet] == ["", ""]


ESCAPE = "commit; begin read write; delete from public.eurusd_m5; commit; begin"


def serialized(sql: str) -> str:
    """DuckDB's JSON of a statement, fit for a literal."""
    with duckdb.connect() as session:
        found = session.execute("select json_serialize_sql(?::varchar)", [sql]).fetchone()
    assert found is not None
    return str(found[0]).replace("'", "''")


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("insert into wh.eurusd_m5 select * from wh.eurusd_m5", "INSERT does not run here"),
        ("update wh.eurusd_m5 set open = 0", "UPDATE does not run here"),
        ("delete from wh.eurusd_m5", "DELETE does not run here"),
        ("delete from mt5_file.EURUSD", "DELETE does not run here"),
        ("create table wh.public.mine (i int)", "CREATE does not run here"),
        ("create table mine as select 1", "CREATE does not run here"),
        ("drop table wh.eurusd_m5", "DROP does not run here"),
        ("copy (select 1) to '{directory}/out.csv'", "COPY does not run here"),
        ("copy wh.eurusd_m5 from '{directory}/out.csv'", "COPY"),
        ("export database '{directory}/out'", "EXPORT does not run here"),
        ("attach '{directory}/out.db' as o", "ATTACH does not run here"),
        ("attach '{uri}' as o (type postgres)", "ATTACH does not run here"),
        ("install json", "LOAD does not run here"),
        ("load sqlite_scanner", "LOAD does not run here"),
        ("set enable_external_access = true", "SET does not run here"),
        ("call postgres_execute('wh', 'delete from public.eurusd_m5')", "CALL does not run here"),
        ("select 1; delete from wh.eurusd_m5", "DELETE does not run here"),
        ("select 1; select 2", "one statement is expected, 2 were given"),
        ("explain analyze delete from wh.eurusd_m5", "EXPLAIN does not run here"),
        (f"from postgres_execute('wh', '{ESCAPE}')", "postgres_execute does not run here"),
        (f"select (select count(*) from postgres_execute('wh', '{ESCAPE}'))", "postgres_execute does not run here"),
        (f"from query('from postgres_' || 'execute(''wh'', ''{ESCAPE}'')')", "query does not run here"),
        (
            f"from json_execute_serialized_sql(json_serialize_sql('from postgres_execute(''wh'', ''{ESCAPE}'')'))",
            "json_execute_serialized_sql does not run here",
        ),
        ("pragma json_execute_serialized_sql('{serialized}')", "does not run here"),
        ("from postgres_query('wh', 'select pg_advisory_lock(1)')", "postgres_query does not run here"),
        ("from postgres_attach('{uri}')", "postgres_attach does not run here"),
        ("from sqlite_attach('{directory}/trading_data.db')", "sqlite_attach does not run here"),
        ("from sqlite_scan('{directory}/trading_data.db', 'EURUSD')", "read mt5.<table> instead"),
        ("from sqlite_query('mt5_file', 'delete from EURUSD returning *')", "sqlite_query does not run here"),
        ("from sqlite_query('mt5_file', 'vacuum into ''{directory}/out.db''')", "sqlite_query does not run here"),
        ("from read_csv('/etc/hostname')", "read_csv does not run here"),
        ("from glob('/*')", "glob does not run here"),
    ],
)
def test_nothing_a_statement_says_can_write(world: World, sql: str, expected: str) -> None:
    world.execute(
        "insert into public.eurusd_m5 (timestamp, open, high, low, close, synced_at) values (now(), 1, 1, 1, 1, now())"
    )
    world.collector.write("EURUSD", [bar(MONDAY)])
    before = world.query("select * from public.eurusd_m5"), world.collector.execute("select * from EURUSD")
    files = sorted(path.name for path in world.directory.iterdir())
    if "{serialized}" in sql:
        sql = sql.replace("{serialized}", serialized(f"from postgres_execute('wh', '{ESCAPE}')"))
    else:
        sql = sql.format(directory=world.directory, uri=world.uri)
    assert expected in refusal(world, sql)
    assert (world.query("select * from public.eurusd_m5"), world.collector.execute("select * from EURUSD")) == before
    assert len(before[0]) == len(before[1]) == 1
    assert world.query("select to_regclass('public.mine')") == [(None,)]
    assert sorted(path.name for path in world.directory.iterdir()) == files


@pytest.mark.only_on("embedded", "debian")
def test_postgres_itself_is_told_to_refuse_writes(world: World) -> None:
    assert rows(
        world, "select setting from wh.pg_catalog.pg_settings where name = 'default_transaction_read_only'"
    ) == [{"setting": "on"}]
    assert rows(world, "select setting from wh.pg_catalog.pg_settings where name = 'transaction_read_only'") == [
        {"setting": "on"}
    ]


@pytest.mark.only_on("embedded", "debian")
def test_the_password_shows_nowhere(world: World) -> None:
    for sql in ("from duckdb_databases()", "from duckdb_secrets()", "from duckdb_settings()"):
        done = world.run("query", sql, "--format", "json")
        assert done.returncode == 0, done.stderr
        # the embedded server has no password, hence no secret
        assert len(done.stdout) > 50 or (sql == "from duckdb_secrets()" and "@127.0.0.1" not in world.uri)
        for secret in (DEBIAN_PASSWORD, quote(DEBIAN_PASSWORD, safe="")):
            assert secret not in done.stdout + done.stderr


# --- formats and errors ------------------------------------------------------------------------

SAMPLE = (
    "select 1 as i, 0.1::double as d, 'a,\"b' as t, null as n, timestamptz '2025-01-06 09:00:00+09' as at,"
    " 'nan'::double as nan, [1, 2] as l, 1.10::decimal(9, 2) as m"
)


def test_json_and_csv_give_exact_values(world: World) -> None:
    assert rows(world, SAMPLE) == [
        {
            **{"i": 1, "d": 0.1, "t": 'a,"b', "n": None, "at": "2025-01-06T00:00:00+00:00"},
            **{"nan": "NaN", "l": [1, 2], "m": "1.10"},
        }
    ]
    printed = world.run("query", SAMPLE, "--format", "csv").stdout
    assert list(csv.reader(io.StringIO(printed))) == [
        ["i", "d", "t", "n", "at", "nan", "l", "m"],
        ["1", "0.1", 'a,"b', "", "2025-01-06T00:00:00+00:00", "NaN", "[1, 2]", "1.10"],
    ]
    assert rows(world, "select 1 as i where false") == []
    assert world.run("query", "select 1 as i where false", "--format", "csv").stdout == "i\n"


@pytest.mark.only_on("embedded", "debian")
def test_json_of_the_warehouse_comes_as_json(world: World) -> None:
    world.execute(
        "create table public.documents as select 1 as n, '{\"a\": [1.10, 12345678901234567890]}'::jsonb as b,"
        " '[true, null]'::json as j, null::jsonb as missing, '\"text\"'::jsonb as t, '{\"no\": 1}'::text as plain"
    )
    done = world.run("query", "from wh.documents", "--format", "json")
    assert done.stderr == ""
    assert json.loads(done.stdout, parse_float=Decimal) == [
        {
            **{"n": 1, "b": {"a": [Decimal("1.10"), 12345678901234567890]}, "j": [True, None], "missing": None},
            **{"t": "text", "plain": '{"no": 1}'},
        }
    ]
    assert rows(world, "select '{\"a\": 1}'::json as d, [1] as l") == [{"d": {"a": 1}, "l": [1]}]
    world.collector.load_many("EURUSD", series(MONDAY, 1))
    world.sync()
    [(zigzag,)] = world.query("select zigzag from eurusd_m5")
    assert rows(world, "select zigzag from wh.eurusd_m5") == [{"zigzag": zigzag}]
    assert isinstance(zigzag, dict)


def test_show_tables_lists_file_and_warehouse(world: World) -> None:
    for sql in ("show tables", "SHOW ALL TABLES;"):
        listed = rows(world, sql)
        assert {"database": "mt5", "schema": "main", "name": "EURUSD"} in listed
        assert {"database": "wh", "schema": "public", "name": "eurusd_h1"} in listed
        assert {"database": "wh", "schema": "ops", "name": "source_health"} in listed
        assert "mt5_file" not in {row["database"] for row in listed}
    done = piped(world, "show tables;\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "eurusd_h1" in done.stdout


def test_tables_show_utc_and_survive_wide_empty_and_long_results(world: World) -> None:
    printed = world.run("query", SAMPLE).stdout
    assert "2025-01-06 00:00:00" in printed
    assert printed.splitlines()[-1] == "1 row"
    empty = world.run("query", "select timestamp, open from wh.eurusd_h1").stdout
    assert "timestamp" in empty
    assert empty.splitlines()[-1] == "0 rows"
    wide = ", ".join(f"'[bold]value {n}' as column_{n}" for n in range(40))
    lines = world.run("query", f"select {wide}").stdout.splitlines()
    assert "column_39" in lines[1]
    assert any("[bold]value 39" in line and "[bold]value 0" in line for line in lines)
    long = world.run("query", "select repeat('x', 1000) as x from range(501)").stdout.splitlines()
    assert long[-1] == "first 500 rows; --format csv gives all"
    assert max(map(len, long)) < 80


def test_parquet_and_files(world: World) -> None:
    path = world.directory / "it's.parquet"
    done = world.run("query", SAMPLE + "; -- end", "--format", "parquet", "--output", str(path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with duckdb.connect() as session:
        session.execute("set TimeZone = 'UTC'")
        row = session.read_parquet(str(path)).fetchall()[0]
    assert (row[:4], row[4]) == ((1, 0.1, 'a,"b', None), datetime(2025, 1, 6, tzinfo=timezone.utc))
    before = path.read_bytes()
    assert "Conversion" in refusal(world, "select 'x'::int", "--format", "parquet", "--output", str(path))
    assert path.read_bytes() == before
    for kind in ("csv", "json", "table"):
        target = world.directory / f"out.{kind}"
        assert world.run("query", SAMPLE, "--format", kind, "--output", str(target)).stdout == ""
        assert target.read_text() == world.run("query", SAMPLE, "--format", kind).stdout
    assert {file.suffix for file in world.directory.iterdir()} >= {".parquet", ".csv", ".json", ".table"}
    assert not list(world.directory.glob(".*.part"))
    elsewhere = str(world.directory / "missing" / "out.csv")
    assert "No such file" in refusal(world, "select 1", "--format", "csv", "--output", elsewhere)
    done = world.run("query", "select 1", "--format", "parquet")
    assert done.returncode == 2
    assert "--format parquet needs --output FILE" in done.stderr


def test_errors_are_one_line(world: World) -> None:
    assert "syntax error" in refusal(world, "selec 1")
    assert "nowhere does not exist" in refusal(world, "from wh.nowhere")
    assert "Conversion Error" in refusal(world, "select 'x'::int")
    assert "0 were given" in refusal(world, "/* nothing */")
    line = refusal(world, "@nothing")
    assert "there is no query @nothing" in line
    assert all(f"@{name}" in line for name in named_queries())


def test_numeric_comes_out_to_the_last_digit(world: World) -> None:
    world.execute(
        "create table public.amounts"
        " (name text, plain numeric, fine numeric, odd numeric, typed numeric(20, 2), at date);"
        " insert into amounts values"
        " ('a', 999999999999999.12345678, 0.000000000000000000000000000000000001, 'NaN', 1.50, '2025-01-06'),"
        " ('b', 0.00000001, 1, 2.5, 2, null)"
    )
    rows = csv.DictReader(io.StringIO(world.run("query", "from wh.amounts order by name", "--format", "csv").stdout))
    assert [tuple(row.values()) for row in rows] == [
        ("a", "999999999999999.12345678", f"0.{'0' * 35}1", "NaN", "1.50", "2025-01-06"),
        ("b", "0.00000001", "1", "2.5", "2.00", ""),
    ]
    total = "select sum(a.plain) as total from wh.public.amounts as a join wh.amounts using (name)"
    assert json.loads(world.run("query", total, "--format", "json").stdout) == [{"total": "999999999999999.12345679"}]
    world.execute("create schema money; create view money.doubled as select 2 * plain as plain from amounts")
    doubled = "select max(plain) as most from wh.money.doubled"
    assert json.loads(world.run("query", doubled, "--format", "json").stdout) == [{"most": "1999999999999998.24691356"}]
    file = world.directory / "amounts.parquet"
    world.run("query", "select plain, fine from wh.amounts;", "--format", "parquet", "--output", str(file))
    assert duckdb.sql(f"select typeof(plain), typeof(fine) from '{file}' limit 1").fetchall() == [
        ("DECIMAL(38,8)", "VARCHAR")
    ]
