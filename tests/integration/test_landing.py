"""Rows on their way from DuckDB to Postgres and back."""

from __future__ import annotations

import struct
import subprocess
import sys
from contextlib import closing
from importlib.util import find_spec

import psycopg2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg2.extras import execute_values

from extract.duckdb_landing import fetch, rows_of
from extract.duckdb_session import open_session
from extract.landing import copy_to_temporary
from extract.warehouse import transaction
from tests.conftest import Server

# what CSV and COPY give a meaning to, beside any other text
SPECIAL = st.text(st.sampled_from("\x01\x02\"',;\\N.\n\r\t é\U0001f600"))
TEXTS = st.none() | SPECIAL | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
ROWS = st.lists(st.tuples(st.floats(), TEXTS), max_size=50)
FINITE_ROWS = st.lists(st.tuples(st.floats(allow_nan=False, allow_infinity=False), TEXTS), max_size=50)
FETCHING = """
import sys
from contextlib import closing
import psycopg2
from extract.duckdb_landing import fetch
from extract.duckdb_session import open_session
with closing(psycopg2.connect(sys.argv[1])) as connection, open_session() as session:
    fetch(session, connection, "numbers", {"number": "integer"}, "select generate_series(1, 3)")
    total = session.execute("select sum(number)::integer from numbers").fetchone()
    print(total, {"numpy", "pandas"} & sys.modules.keys())
"""


@pytest.mark.only_on("embedded")
@settings(max_examples=60, deadline=None)
@given(rows=ROWS)
def test_doubles_and_texts_arrive_exactly(server: Server, rows: list[tuple[float, str | None]]) -> None:
    with (
        closing(psycopg2.connect(server.uri.format(database="postgres"))) as connection,
        open_session() as session,
    ):
        connection.autocommit = True
        session.execute("create table given_rows (number double, words varchar)")
        if rows:
            session.executemany("insert into given_rows values (?, ?)", rows)
        with rows_of(session, "from given_rows") as csv, transaction(connection), connection.cursor() as cursor:
            copy_to_temporary(connection, "taken_rows", {"number": "float8", "words": "text"}, csv)
            cursor.execute("select number, words from taken_rows")
            assert list(map(_exact, cursor.fetchall())) == list(map(_exact, rows))


@pytest.mark.only_on("embedded")
@settings(max_examples=60, deadline=None)
@given(rows=FINITE_ROWS)
def test_doubles_and_texts_come_back_exactly(server: Server, rows: list[tuple[float, str | None]]) -> None:
    columns = {"number": "double", "words": "varchar"}
    with (
        closing(psycopg2.connect(server.uri.format(database="postgres"))) as connection,
        open_session() as session,
    ):
        with connection.cursor() as cursor:
            cursor.execute("create temp table given_rows (number float8, words text)")
            execute_values(cursor, "insert into given_rows values %s", rows or [(None, None)])
        fetch(
            session, connection, "taken_rows", columns, "select number, words from given_rows where number is not null"
        )
        taken = session.execute("from taken_rows").fetchall()
    # DuckDB takes -0.0 for equal to 0.0, and so does the comparison with what a file has
    assert sorted(taken, key=repr) == sorted(((number or 0.0, words) for number, words in rows), key=repr)


@pytest.mark.only_on("embedded")
def test_fetching_imports_no_pandas(server: Server) -> None:
    assert find_spec("pandas"), "without pandas this shows nothing"
    uri = server.uri.format(database="postgres")
    done = subprocess.run([sys.executable, "-c", FETCHING, uri], capture_output=True, text=True, check=True)
    assert done.stdout == "(6,) set()\n"


def _exact(row: tuple[float, str | None]) -> tuple[bytes | str, str | None]:
    """A row in which -0.0 differs from 0.0, and any NaN is equal to any other."""
    number, words = row
    return ("NaN" if number != number else struct.pack("d", number), words)
