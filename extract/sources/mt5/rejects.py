"""Rejects of bars: compares those of the rows just read with those on record, in DuckDB."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

import duckdb

from extract.duckdb_landing import fetch
from extract.landing import Batch, Rows, landing
from extract.quoting import literal
from extract.records import Run
from extract.rejects import ON_RECORD, REJECT_COLUMNS, REJECT_KEY
from extract.warehouse import Connection

# From here to the year 2286, timestamps have ten digits, so they sort as text in the order of numbers.
TEN_DIGITS = 1_000_000_000
KEYS = ", ".join(REJECT_KEY)


def diff_rejects(
    session: duckdb.DuckDBPyConnection,
    connection: Connection,
    source: str,
    since: Mapping[str, int | None],
    until: int | None,
) -> None:
    """Compare the rejects in the table `mt5_rejects` with those on record for the same symbols and time.

    This makes two tables in the session: `rejects_new` (over REJECT_COLUMNS: not on record, or with another value
    there) and `rejects_gone` (over REJECT_KEY: the bar was read again and the value is no longer a reject).
    """
    bad_keys = session.execute("select distinct entity from mt5_rejects where column_name = 'timestamp'").fetchall()
    known = " union all ".join(_on_record(source, since, until, {symbol for (symbol,) in bad_keys}))
    fetch(session, connection, "rejects_known", dict.fromkeys(REJECT_COLUMNS, "varchar"), known)
    # choose one per key before comparing, so that the choice does not depend on what is on record
    session.execute(
        "create or replace temp table rejects_new as"
        f" from (select distinct on ({KEYS}) {', '.join(REJECT_COLUMNS)} from mt5_rejects order by {KEYS}, reason,"
        " original) except from rejects_known"
    )
    session.execute(
        f"""
        create or replace temp table rejects_gone as
        select {KEYS}
        from rejects_known as known
        semi join mt5_delta as delta
            on delta.symbol = known.entity and delta.timestamp = try_cast(known.row_key as bigint)
        anti join mt5_rejects as again using ({KEYS})
        """
    )


def _on_record(
    source: str, since: Mapping[str, int | None], until: int | None, with_bad_keys: Set[str]
) -> Iterator[str]:
    """Queries for the rejects on record that may belong to the rows just read; they use the primary key.

    They may return more: timestamps of fewer than ten digits do not sort as text in the order of numbers. The key of a
    rejected whole row is not a time, so those are queried only if this read has any.
    """
    select = f"select {', '.join(REJECT_COLUMNS)} from ops.rejected_rows as known where source = {literal(source)}"
    for symbol, start in since.items():
        of_symbol = f"{select} and {ON_RECORD} and entity = {literal(symbol)} and column_name"
        span = ""
        if start is not None and start >= TEN_DIGITS:
            span = f" and row_key >= '{start}'" + ("" if until is None else f" and row_key < '{until}'")
        yield f"{of_symbol} <> 'timestamp'{span}"
        if symbol in with_bad_keys:
            yield f"{of_symbol} = 'timestamp'"


def resolve_rejects(batch: Batch, found: Rows, gone: Rows) -> None:
    """Write the rejects found, over REJECT_COLUMNS, and resolve those that are gone, over REJECT_KEY."""
    batch.copy("rejects_gone", dict.fromkeys(REJECT_KEY, "text"), gone)
    same = " and ".join(f"gone.{name} = known.{name}" for name in REJECT_KEY)
    batch.record_rejects(found, f"exists (select from rejects_gone as gone where {same})")


class WholeFile:
    """Collects the rejects of all spans of a symbol's table, to resolve those that the file no longer has."""

    def __init__(self, session: duckdb.DuckDBPyConnection, symbol: str) -> None:
        self._session = session
        self._symbol = symbol
        fields = ", ".join(f"{name} varchar" for name in REJECT_KEY)
        session.execute(f"create or replace temp table rejects_in_file ({fields})")

    def add(self) -> None:
        """Add the rejects of the span just read."""
        self._session.execute(f"insert into rejects_in_file select distinct {KEYS} from mt5_rejects")

    def resolve_departed(self, run: Run) -> None:
        """Resolve the rejects on record that no span had."""
        known = (
            f"select {KEYS} from ops.rejected_rows as known"
            f" where source = {literal(run.source)} and entity = {literal(self._symbol)} and {ON_RECORD}"
        )
        fetch(self._session, run.connection, "rejects_on_record", dict.fromkeys(REJECT_KEY, "varchar"), known)
        departed = self._session.execute("from rejects_on_record except from rejects_in_file").fetchall()
        if departed:
            with landing(run) as batch:
                resolve_rejects(batch, [], departed)
