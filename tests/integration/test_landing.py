"""Rows on their way from DuckDB to Postgres."""

from __future__ import annotations

import struct
from contextlib import closing

import psycopg2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.duckdb_landing import rows_of
from extract.duckdb_session import open_session
from extract.landing import copy_to_temporary
from extract.warehouse import transaction
from tests.conftest import Server

# what CSV and COPY give a meaning to, beside any other text
SPECIAL = st.text(st.sampled_from("\x01\x02\"',;\\N.\n\r\t é\U0001f600"))
TEXTS = st.none() | SPECIAL | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
ROWS = st.lists(st.tuples(st.floats(), TEXTS), max_size=50)


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


def _exact(row: tuple[float, str | None]) -> tuple[bytes | str, str | None]:
    """A row in which -0.0 differs from 0.0, and any NaN is equal to any other."""
    number, words = row
    return ("NaN" if number != number else struct.pack("d", number), words)
