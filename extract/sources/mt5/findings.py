"""Finds bars that the file has withdrawn, and symbols whose table holds only rejects."""

from __future__ import annotations

import duckdb

from extract.landing import Batch
from extract.quoting import literal
from extract.settings import PRICES
from extract.sources.mt5.file import Extraction
from extract.sources.mt5.symbols import relation
from extract.warehouse import Connection

READ = ("landed", "unchanged", "empty")
EMPTY_VALUE = "1.7976931348623157e308"


def find_withdrawn(session: duckdb.DuckDBPyConnection, connection: Connection, extraction: Extraction) -> None:
    """Fill `mt5_withdrawn`: future bars of the span read that staging has and the file no longer has.

    A future bar comes from a wrong clock; when it is gone, the clock was corrected. Any other bar that is gone from the
    file is history and stays.
    """
    read = ", ".join(literal(name) for name, each in extraction.outcomes.items() if each.status in READ) or "''"
    session.execute(
        "create or replace temp table mt5_withdrawn as select symbol, timestamp"
        f" from mt5_staged anti join mt5_delta using (symbol, timestamp) where symbol in ({read})"
    )
    if session.execute("select exists (from mt5_withdrawn)").fetchone() == (True,):
        with connection.cursor() as cursor:
            cursor.execute("select extract(epoch from clock_timestamp())::bigint")
            ((now,),) = cursor.fetchall()
        session.execute(f"delete from mt5_withdrawn where timestamp <= {now}")


def withdraw(session: duckdb.DuckDBPyConnection, batch: Batch) -> None:
    """Delete the bars of `mt5_withdrawn` from staging, in the open landing transaction."""
    found = session.execute("select symbol, list(timestamp) from mt5_withdrawn group by symbol").fetchall()
    for symbol, timestamps in found:
        batch.execute(f"delete from {relation(symbol)} where timestamp in ({', '.join(map(str, timestamps))})")


def fail_without_bars(session: duckdb.DuckDBPyConnection, connection: Connection, extraction: Extraction) -> None:
    """Mark symbols as failed if all their rows are rejects and staging has no bar of them either."""
    usable = " and ".join(f"{{0}} > '-infinity' and {{0}} < {EMPTY_VALUE}".replace("{0}", price) for price in PRICES)
    with_bar = {name for (name,) in session.execute(f"select distinct symbol from mt5_delta where {usable}").fetchall()}
    for symbol, outcome in extraction.outcomes.items():
        if outcome.rows_read and outcome.status in READ and symbol not in with_bar:
            with connection.cursor() as cursor:
                cursor.execute(f"select exists (select from {relation(symbol)} where {usable})")
                if cursor.fetchall() == [(False,)]:
                    outcome.status = "failed"
                    outcome.error = (
                        f"table {outcome.table} has no bar, only rejects: {outcome.rows_read:,} rows without a usable "
                        "timestamp or price (tradehouse query @rejected says why)"
                    )
