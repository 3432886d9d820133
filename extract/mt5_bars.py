"""Bars of the MetaTrader 5 collector: read what is new in its file, type it, land it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import duckdb

from extract.duck import literal
from extract.landing import (
    ALIAS,
    REJECT_COLUMNS,
    Batch,
    Run,
    StagingTable,
    landing,
    open_rejects,
    record_symbols,
)
from extract.mt5_file import COLUMNS, NUMBERS, TEXTS, Extraction, read_file
from extract.warehouse import Connection

SOURCE = "mt5"
TYPES = {"timestamp": "bigint"} | {name: "double precision" if name in NUMBERS else "text" for name in COLUMNS[1:]}
# A bar outside is no bar: milliseconds instead of seconds, or a terminal without a clock.
LAST_TIMESTAMP = 4_102_444_800  # 2100-01-01
KEY = (
    f"case when regexp_full_match(timestamp, '[0-9]+([.]0*)?') and try_cast(timestamp as bigint) < {LAST_TIMESTAMP}"
    " then try_cast(timestamp as bigint) end"
)


def staging_table(symbol: str) -> StagingTable:
    """The landing table of a symbol."""
    return StagingTable(symbol, ("timestamp",), TYPES)


def watermarks(connection: Connection, symbols: Iterable[str]) -> dict[str, int | None]:
    """Newest landed bar of each symbol, Unix seconds, None where nothing has landed.

    A bar from the future does not count, or it would hide everything that comes before it; 0 where there is no
    other.
    """
    newest = " union all ".join(
        f"select {literal(symbol)}, coalesce("
        f"(select max(timestamp) from {staging_table(symbol).relation}"
        " where timestamp <= extract(epoch from clock_timestamp())),"
        f" (select 0 from {staging_table(symbol).relation} limit 1))"
        for symbol in symbols
    )
    with connection.cursor() as cursor:
        cursor.execute(newest)
        return dict(cursor.fetchall())


def extract(session: duckdb.DuckDBPyConnection, path: Path, since: Mapping[str, int | None]) -> Extraction:
    """Read every symbol's bars from its `since` (Unix seconds, inclusive; None: all) into the session.

    Leaves two tables there: `mt5_delta` (symbol and COLUMNS, typed) and `mt5_rejects` (REJECT_COLUMNS: what
    could not be typed). A symbol that cannot be read is `failed` in the outcome and stops no other.

    Raises:
        SourceError: the file as a whole cannot be read.
    """
    extraction = read_file(session, path, since)
    _type_values(session)
    return extraction


def _type_values(session: duckdb.DuckDBPyConnection) -> None:
    """Split `mt5_raw` into typed rows and rejects.

    Rows without a usable key are rejects as a whole. Any other row lands, with NULL where a value could not
    be read; whether it makes a candle is decided in SQL.
    """
    session.execute(f"create or replace temp view mt5_keyed as select *, {KEY} as key from mt5_raw")
    # a table made without the primary key may repeat a timestamp: the row written last counts
    session.execute(
        f"""
        delete from mt5_raw where rowid in (
            select unnest(list(row order by row desc)[2:])
            from (select rowid as row, symbol, {KEY} as key from mt5_raw)
            where key is not null
            group by symbol, key
            having count(*) > 1
        )
        """
    )
    numbers = ", ".join(f"case when {_is_number(name)} then {name}::double end as {name}" for name in NUMBERS)
    texts = ", ".join(f"case when not contains({name}, chr(0)) then {name} end as {name}" for name in TEXTS)
    session.execute(
        f"""
        create or replace temp table mt5_delta as
        select symbol, {", ".join(COLUMNS)}
        from (select symbol, key as timestamp, {numbers}, {texts} from mt5_keyed where key is not null)
        """
    )
    _collect_rejects(session)


def _is_number(name: str) -> str:
    """Condition: the text is a number. DuckDB takes 1_000 for one too; nobody else does."""
    return f"(not contains({name}, '_') and try_cast({name} as double) is not null)"


def _collect_rejects(session: duckdb.DuckDBPyConnection) -> None:
    """Fill `mt5_rejects` with what `_type_values` could not type, in its original words."""
    unreadable = {name: f"({name} is not null and not {_is_number(name)})" for name in NUMBERS} | {
        name: f"contains({name}, chr(0))" for name in TEXTS
    }
    session.execute(
        "create or replace temp table mt5_suspects as select * from mt5_keyed"
        f" where key is null or {' or '.join(unreadable.values())}"
    )
    original = "replace({}, chr(0), '\\0')"
    whole_row = original.format("concat_ws(', ', timestamp, open, high, low, close)")
    selects = [
        f"select symbol, coalesce(timestamp, {whole_row}), 'timestamp',"
        f" 'no Unix seconds between 1970 and 2100', {whole_row} from mt5_suspects where key is null"
    ]
    selects += [
        f"select symbol, key::varchar, '{name}', '{'not a number' if name in NUMBERS else 'contains a NUL character'}',"
        f" {original.format(name)} from mt5_suspects where key is not null and {condition}"
        for name, condition in unreadable.items()
    ]
    fields = ", ".join(f"{name} varchar" for name in REJECT_COLUMNS)
    session.execute(f"create or replace temp table mt5_rejects ({fields})")
    session.execute("insert into mt5_rejects " + " union all ".join(selects))


def land(
    session: duckdb.DuckDBPyConnection,
    run: Run,
    extraction: Extraction,
    since: Mapping[str, int | None],
    grids: Iterable[int],
) -> None:
    """Write what differs from staging, in one transaction; nothing where nothing differs.

    Fills in each outcome's `rows_changed`, `rejects` and final status, which of the `grids` (lengths in
    minutes) have changed, and the run record's counts.
    """
    _keep_changed(session, since)
    _diff_rejects(session, open_rejects(run.connection, SOURCE))
    changed = dict(session.execute("select symbol, count(*) from mt5_changed group by symbol").fetchall())
    newest = dict(session.execute("select symbol, max(timestamp) from mt5_delta group by symbol").fetchall())
    rejected = dict(session.execute("select entity, count(*) from mt5_rejects group by entity").fetchall())
    for symbol, outcome in extraction.outcomes.items():
        outcome.rows_changed = changed.get(symbol, 0)
        outcome.rejects = rejected.get(symbol, 0)
        outcome.newest = newest.get(symbol)
        if outcome.rows_changed:
            outcome.status = "landed"
    lengths = ", ".join(f"({minutes})" for minutes in grids)
    extraction.changed_grids = set(
        session.execute(
            f"select distinct symbol, minutes from mt5_changed, (values {lengths}) as grid (minutes)"
            " where (timestamp // 60) % minutes = 0"
        ).fetchall()
    )
    rejects_differ = session.execute("select exists (from rejects_new) or exists (from rejects_gone)").fetchone()
    if changed or rejects_differ == (True,):
        with landing(session, run) as batch:
            _write(batch, changed, since)
            if rejects_differ == (True,):
                batch.record_rejects("select * from rejects_new", "select * from rejects_gone")
    run.update(rows_read=extraction.rows_read, rows_changed=extraction.rows_changed, rows_rejected=extraction.rejects)
    record_symbols(
        run.connection,
        [
            (
                symbol,
                "ok" if outcome.status in {"landed", "unchanged"} else outcome.status,
                outcome.table,
                outcome.newest,
                outcome.rows_changed > 0,
                outcome.error,
            )
            for symbol, outcome in extraction.outcomes.items()
        ],
    )


def _write(batch: Batch, changed: Iterable[str], since: Mapping[str, int | None]) -> None:
    """Fill the staging tables of the changed symbols: the empty ones directly, the others by upsert."""
    columns = ", ".join(COLUMNS)
    loaded = [symbol for symbol in changed if since[symbol] is None]
    updated = [symbol for symbol in changed if since[symbol] is not None]
    for symbol in loaded:
        batch.load(staging_table(symbol), f"select {columns} from mt5_changed where symbol = {literal(symbol)}")
    if updated:
        symbols = ", ".join(map(literal, updated))
        rows = f"select symbol, {columns} from mt5_changed where symbol in ({symbols})"
        batch.copy("mt5_bars", {"symbol": "text"} | TYPES, rows)
    for symbol in updated:
        batch.upsert(staging_table(symbol), f"select {columns} from mt5_bars where symbol = {literal(symbol)}")


def _keep_changed(session: duckdb.DuckDBPyConnection, since: Mapping[str, int | None]) -> None:
    """Fill `mt5_changed` with the rows staging lacks or holds with other values."""
    columns = ", ".join(COLUMNS)
    staged = " union all ".join(
        f"select {literal(symbol)} as symbol, {columns} from {staging_table(symbol).relation}"
        f" where timestamp >= {start}"
        for symbol, start in since.items()
        if start is not None
    )
    if not staged:
        session.execute("create or replace temp view mt5_changed as select * from mt5_delta")
        return
    session.execute(
        "create or replace temp table mt5_differing as select * from mt5_delta except"
        f" select * from postgres_query({literal(ALIAS)}, {literal(staged)})"
    )
    session.execute("create or replace temp view mt5_changed as select * from mt5_differing")


def _diff_rejects(session: duckdb.DuckDBPyConnection, unresolved: Sequence[tuple[str, str, str, str, str]]) -> None:
    """Fill `rejects_new` and `rejects_gone` from this pass and what is on record as unresolved."""
    fields = ", ".join(f"{name} varchar" for name in REJECT_COLUMNS)
    session.execute(f"create or replace temp table rejects_known ({fields})")
    if unresolved:
        session.executemany("insert into rejects_known values (?, ?, ?, ?, ?)", list(unresolved))
    session.execute(
        "create or replace temp table rejects_new as select distinct on (entity, row_key, column_name) *"
        " from (select * from mt5_rejects except select * from rejects_known)"
    )
    # gone: its bar was read in this pass, and this value of it with success
    session.execute(
        """
        create or replace temp table rejects_gone as
        select entity, row_key, column_name
        from rejects_known as known
        semi join mt5_delta as delta
            on delta.symbol = known.entity and delta.timestamp = try_cast(known.row_key as bigint)
        anti join mt5_rejects as again
            on again.entity = known.entity and again.row_key = known.row_key
            and again.column_name = known.column_name
        """
    )
