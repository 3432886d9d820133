"""Bars of the MetaTrader 5 collector: read what is new in its file, convert it to types, land it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import duckdb

from extract.duckdb_landing import fetch, rows_of
from extract.landing import Batch, StagingTable, copy_to_temporary, landing
from extract.quoting import literal
from extract.records import Run
from extract.rejects import REJECT_COLUMNS
from extract.settings import Columns
from extract.sources.mt5.file import LONG_VALUE, Extraction, next_timestamp, read_file
from extract.sources.mt5.findings import fail_without_bars, find_withdrawn, withdraw
from extract.sources.mt5.rejects import diff_rejects, resolve_rejects
from extract.sources.mt5.symbols import bar_digest, record_symbols, relation
from extract.warehouse import Connection, transaction

SOURCE = "mt5"
# A later timestamp is an error: milliseconds instead of seconds, or a wrong clock.
LAST_TIMESTAMP = 4_102_444_800  # 2100-01-01
# The start for reading a whole file; low enough to include rows whose timestamp is negative.
BEFORE_ALL = -(2**62)
# How many seconds of bars one step reads when the whole file is read. 14 days, or 4,000 bars of five minutes, lock the
# file for some 30 ms.
WINDOW = 14 * 86_400
KEY = (
    f"case when regexp_full_match(timestamp, '[0-9]+([.]0*)?') and try_cast(timestamp as bigint) < {LAST_TIMESTAMP}"
    " then try_cast(timestamp as bigint) end"
)


def staging_table(symbol: str, columns: Columns) -> StagingTable:
    """The landing table of a symbol."""
    return StagingTable(symbol, ("timestamp",), columns.types)


def watermarks(connection: Connection, symbols: Iterable[str]) -> dict[str, int | None]:
    """Newest landed bar of each symbol in Unix seconds; None if the symbol has no landed bar.

    A bar from the future does not count, because later runs would then skip all bars before it. The value is 0 if a
    symbol has only such bars.
    """
    newest = " union all ".join(
        f"select {literal(symbol)}, coalesce("
        f"(select max(timestamp) from {relation(symbol)}"
        " where timestamp <= extract(epoch from clock_timestamp())),"
        f" (select 0 from {relation(symbol)} limit 1))"
        for symbol in symbols
    )
    with connection.cursor() as cursor:
        cursor.execute(newest)
        return dict(cursor.fetchall())


def windows(session: duckdb.DuckDBPyConnection, path: Path, symbol: str) -> Iterator[tuple[int, int | None]]:
    """Spans of `WINDOW` seconds that cover all rows of a symbol: `since` and `until` for `extract`; gaps are skipped.

    Raises:
        SourceError: the file as a whole cannot be read.
    """
    since, first = BEFORE_ALL, next_timestamp(session, path, symbol, 0, LAST_TIMESTAMP)
    while first is not None:
        until = first + WINDOW
        following = next_timestamp(session, path, symbol, until, LAST_TIMESTAMP)
        if following is None:
            break
        yield since, until
        since = first = following
    yield since, None  # a timestamp that is not a number sorts after all numbers


def extract(
    session: duckdb.DuckDBPyConnection,
    path: Path,
    columns: Columns,
    since: Mapping[str, int | None],
    until: int | None,
    longest: int,
) -> Extraction:
    """Read every symbol's bars from its `since` (Unix seconds, inclusive; None: all) into the session.

    `until` (exclusive) leaves out later bars, and with them every row whose timestamp is not a number. A value of more
    than `longest` bytes is a reject.

    This makes two tables in the session: `mt5_delta` (symbol and the columns, typed) and `mt5_rejects` (over
    REJECT_COLUMNS: the values that could not be typed). A symbol that cannot be read is `failed` in the outcome; the
    others are still read.

    Raises:
        SourceError: the file as a whole cannot be read.
    """
    extraction = read_file(session, path, columns, since, until, longest)
    _type_values(session, columns)
    return extraction


def _type_values(session: duckdb.DuckDBPyConnection, columns: Columns) -> None:
    """Split `mt5_raw` into typed rows and rejects.

    A row without a valid timestamp is a reject as a whole. Any other row lands, with NULL for each value that could not
    be read. SQL decides later whether the row makes a candle.
    """
    # Postgres text cannot hold a NUL, and the timestamp is the key of its reject
    session.execute(
        "create or replace temp view mt5_keyed as"
        f" select * replace (replace(timestamp, chr(0), '\\0') as timestamp), {KEY} as key from mt5_raw"
    )
    # a table without a primary key may repeat a timestamp: the row written last counts
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
    numbers = ", ".join(f"case when {_is_number(name)} then {name}::double end as {name}" for name in columns.numbers)
    texts = ", ".join(f"case when not contains({name}, chr(0)) then {name} end as {name}" for name in columns.texts)
    session.execute(
        f"""
        create or replace temp table mt5_delta as
        select symbol, {", ".join(columns.names)}
        from (select symbol, key as timestamp, {numbers}, {texts} from mt5_keyed where key is not null)
        """
    )
    _collect_rejects(session, columns)


def _is_number(name: str) -> str:
    """Condition: the text is a number. DuckDB would also accept 1_000, which is not one elsewhere."""
    return f"(not contains({name}, '_') and try_cast({name} as double) is not null)"


def _collect_rejects(session: duckdb.DuckDBPyConnection, columns: Columns) -> None:
    """Fill `mt5_rejects` with the values that `_type_values` could not type, as they were in the file."""
    unreadable = {name: f"({name} is not null and not {_is_number(name)})" for name in columns.numbers} | {
        name: f"contains({name}, chr(0))" for name in columns.texts
    }
    session.execute(
        "create or replace temp table mt5_suspects as select * from mt5_keyed"
        f" where key is null or {' or '.join(unreadable.values())}"
    )
    is_long = f"regexp_matches({{0}}, '^{LONG_VALUE}')"
    original = f"case when {is_long} then substr({{0}}, 2) else replace({{0}}, chr(0), '\\0') end"
    whole_row = original.format("concat_ws(', ', timestamp, open, high, low, close)")
    selects = [
        f"select symbol, coalesce(timestamp, {whole_row}), 'timestamp',"
        f" 'no Unix seconds between 1970 and 2100', {whole_row} from mt5_suspects where key is null"
    ]
    reasons = dict.fromkeys(columns.numbers, "not a number") | dict.fromkeys(columns.texts, "contains a NUL character")
    selects += [
        f"select symbol, key::varchar, '{name}', case when {is_long.format(name)} then 'longer than MAX_VALUE_BYTES'"
        f" else '{reasons[name]}' end, {original.format(name)}"
        f" from mt5_suspects where key is not null and {condition}"
        for name, condition in unreadable.items()
    ]
    fields = ", ".join(f"{name} varchar" for name in REJECT_COLUMNS)
    session.execute(f"create or replace temp table mt5_rejects ({fields})")
    session.execute("insert into mt5_rejects " + " union all ".join(selects))


def compare(
    session: duckdb.DuckDBPyConnection,
    connection: Connection,
    extraction: Extraction,
    since: Mapping[str, int | None],
    grids: Iterable[int],
    until: int | None = None,
) -> None:
    """Find which of the bars read differ from the warehouse; `since` and `until` are those of the reading.

    This fills in the counts and the final status of each outcome, and which of the `grids` (lengths in minutes) have
    changed. It makes `mt5_changed`, `mt5_withdrawn`, `rejects_new` and `rejects_gone` in the session for `land`.
    """
    _find_changed(session, connection, extraction.columns, since, until)
    find_withdrawn(session, connection, extraction)
    diff_rejects(session, connection, SOURCE, since, until)
    changed = dict(session.execute("select symbol, count(*) from mt5_changed group by symbol").fetchall())
    newest = dict(session.execute("select symbol, max(timestamp) from mt5_delta group by symbol").fetchall())
    rejected = dict(session.execute("select entity, count(*) from mt5_rejects group by entity").fetchall())
    counting = "select symbol, count(*) from {} anti join {} using (symbol, timestamp) group by symbol"
    new = dict(session.execute(counting.format("mt5_changed", "mt5_staged")).fetchall())
    gone = dict(session.execute(counting.format("mt5_staged", "mt5_delta")).fetchall())
    withdrawn = dict(session.execute("select symbol, count(*) from mt5_withdrawn group by symbol").fetchall())
    for symbol, outcome in extraction.outcomes.items():
        outcome.rows_withdrawn = withdrawn.get(symbol, 0)
        outcome.rows_changed = changed.get(symbol, 0) + outcome.rows_withdrawn
        outcome.rejects = rejected.get(symbol, 0)
        outcome.rows_new = new.get(symbol, 0)
        outcome.rows_gone = gone.get(symbol, 0)
        outcome.newest = newest.get(symbol)
        if outcome.rows_changed:
            outcome.status = "landed"
    if until is None:
        fail_without_bars(session, connection, extraction)
    lengths = ", ".join(f"({minutes})" for minutes in grids)
    extraction.changed_grids = set(
        session.execute(
            "select distinct symbol, minutes"
            " from (select symbol, timestamp from mt5_changed union all from mt5_withdrawn)"
            f" cross join (values {lengths}) as grid (minutes)"
            " where (timestamp // 60) % minutes = 0"
        ).fetchall()
    )


def land(session: duckdb.DuckDBPyConnection, run: Run, extraction: Extraction, since: Mapping[str, int | None]) -> None:
    """Write what `compare` found, in one transaction. If nothing differs, nothing is written."""
    changed = [symbol for symbol, outcome in extraction.outcomes.items() if outcome.rows_changed]
    rejects = session.execute("select exists (from rejects_new) or exists (from rejects_gone)").fetchall()
    if not changed and rejects == [(False,)]:
        return
    columns = extraction.columns
    names = ", ".join(columns.names)
    with landing(run) as batch:
        for symbol in changed:
            if since[symbol] is None:  # its staging table was empty when this run began
                bars = f"from mt5_changed where symbol = {literal(symbol)}"
                rows = f"select {names}, {literal(batch.extracted_at.isoformat())} {bars}"
                with rows_of(session, rows) as csv:
                    batch.load(staging_table(symbol, columns), csv)
        _upsert(session, batch, columns, [symbol for symbol in changed if since[symbol] is not None])
        if rejects == [(True,)]:
            with rows_of(session, "from rejects_new") as found, rows_of(session, "from rejects_gone") as gone:
                resolve_rejects(batch, found, gone)
        withdraw(session, batch)


def record(run: Run, extraction: Extraction) -> None:
    """Store the counts in the run's record, and the state of each symbol in `ops.sync_symbols`."""
    run.update(
        rows_read=extraction.rows_read,
        rows_changed=extraction.rows_changed,
        rows_rejected=extraction.rejects,
        source_modified_at=extraction.modified_at,
    )
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


def _upsert(session: duckdb.DuckDBPyConnection, batch: Batch, columns: Columns, symbols: Sequence[str]) -> None:
    """Upsert the changed bars of symbols."""
    if not symbols:
        return
    names = ", ".join(columns.names)
    listed = ", ".join(map(literal, symbols))
    with rows_of(session, f"select symbol, {names} from mt5_changed where symbol in ({listed})") as csv:
        batch.copy("mt5_bars", {"symbol": "text"} | columns.types, csv)
    for symbol in symbols:
        batch.upsert(staging_table(symbol, columns), f"select {names} from mt5_bars where symbol = {literal(symbol)}")


def _find_changed(
    session: duckdb.DuckDBPyConnection,
    connection: Connection,
    columns: Columns,
    since: Mapping[str, int | None],
    until: int | None,
) -> None:
    """Make the view `mt5_changed`: bars that the warehouse lacks or has with other values."""
    names = ", ".join(columns.names)
    end = "" if until is None else f" and timestamp < {until}"
    staged = " union all ".join(
        f"select {literal(symbol)} as symbol, {names} from {relation(symbol)} where timestamp >= {start}{end}"
        for symbol, start in since.items()
        if start is not None
    )
    if not staged:
        session.execute("create or replace temp table mt5_staged as from mt5_delta limit 0")
        session.execute("create or replace temp view mt5_changed as from mt5_delta")
        return
    fetch(session, connection, "mt5_staged", {"symbol": "varchar"} | columns.duckdb_types, staged)
    session.execute("create or replace temp table mt5_differing as from mt5_delta except from mt5_staged")
    session.execute("create or replace temp view mt5_changed as from mt5_differing")
    # a bar older than all bars that staging has in this span: it may have landed before and been pruned
    old = "from mt5_differing semi join mt5_oldest on {}".format(
        "mt5_differing.symbol = mt5_oldest.symbol and mt5_differing.timestamp < mt5_oldest.timestamp"
    )
    session.execute(
        "create or replace temp view mt5_oldest as"
        " select symbol, coalesce(min(mt5_staged.timestamp), 9223372036854775807) as timestamp"
        " from (select distinct symbol from mt5_differing) left join mt5_staged using (symbol) group by symbol"
    )
    if session.execute(f"select exists ({old})").fetchone() == (True,):
        _leave_out_pruned(session, connection, columns, old)


def _leave_out_pruned(session: duckdb.DuckDBPyConnection, connection: Connection, columns: Columns, old: str) -> None:
    """Remove from `mt5_changed` the bars that have not changed since staging pruned them.

    A candle is made from all bars of its minute, so if one bar has changed, the others of its minute stay too.
    """
    pruned_as_it_is = (
        "select symbol, timestamp from mt5_questioned as bar join ops.pruned_bars using (symbol, timestamp)"
        f" where pruned_bars.digest = {bar_digest('bar', columns.names)}"
    )
    with rows_of(session, old) as csv, transaction(connection):
        copy_to_temporary(connection, "mt5_questioned", {"symbol": "text"} | columns.types, csv)
        fetch(session, connection, "mt5_known", {"symbol": "varchar", "timestamp": "bigint"}, pruned_as_it_is)
    session.execute(
        "delete from mt5_known where (symbol, timestamp // 60) in"
        " (select symbol, timestamp // 60 from mt5_differing anti join mt5_known using (symbol, timestamp))"
    )
    session.execute(
        "create or replace temp view mt5_changed as from mt5_differing anti join mt5_known using (symbol, timestamp)"
    )
