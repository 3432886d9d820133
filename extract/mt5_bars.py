"""The MetaTrader 5 collector's SQLite file: find the symbols' tables, read what is new, land it.

The read is one statement through `sqlite_query`, so that all symbols come from one snapshot and SQLite is
released at once. DuckDB's attached scan is not used: it reads slices of a table on separate connections,
tears rows written together and can drop the newest one (see DECISIONS.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from extract.duck import identifier, literal
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
from extract.warehouse import Connection

SOURCE = "mt5"
PRICES = ("open", "high", "low", "close")
AVERAGES = ("tema", "hrma", "smma")
NUMBERS = (*PRICES, *AVERAGES)
COLUMNS = (
    "timestamp",
    *PRICES,
    "fractals",
    "horizontal_trendlines",
    "diagonal_trendlines",
    "momentum_candles",
    "keltner_channels",
    *AVERAGES,
    "zigzag",
)
TEXTS = tuple(name for name in COLUMNS if name not in (*NUMBERS, "timestamp"))
TYPES = {"timestamp": "bigint"} | {name: "double precision" if name in NUMBERS else "text" for name in COLUMNS[1:]}
# Suffixes brokers put behind a symbol; the collector strips them, but may be told not to.
BROKER_SUFFIXES = (".i", ".pro", ".raw", ".std", ".e", ".z", "m")
# A bar outside is no bar: milliseconds instead of seconds, or a terminal without a clock.
LAST_TIMESTAMP = 4_102_444_800  # 2100-01-01
SQLITE_MAGIC = b"SQLite format 3\x00"


class SourceError(Exception):
    """The SQLite file cannot be read; the message says which kind of file it is and what to do."""


class SourceBusyError(SourceError):
    """Another program holds the SQLite file; it may be free the next moment."""


@dataclass
class SymbolOutcome:
    """What became of one symbol in a run.

    `status` is `landed`, `unchanged`, `empty` (its table has no rows), `missing` (no table) or `failed`.
    """

    symbol: str
    status: str = "missing"
    table: str | None = None
    rows_read: int = 0
    rows_changed: int = 0
    rejects: int = 0
    newest: int | None = None  # Unix seconds, among the rows read
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the symbol needs nobody's attention."""
        return self.status in {"landed", "unchanged", "empty"}


@dataclass
class Extraction:
    """What one pass over the file gave, symbol by symbol; rows lie in the session's table `mt5_delta`."""

    outcomes: dict[str, SymbolOutcome]
    ignored_tables: list[str] = field(default_factory=list)
    changed_grids: set[tuple[str, int]] = field(default_factory=set)
    """(symbol, minutes) of every grid on which a changed row lies."""

    @property
    def rows_read(self) -> int:
        """Rows read from the file, all symbols together."""
        return sum(outcome.rows_read for outcome in self.outcomes.values())

    @property
    def rows_changed(self) -> int:
        """Rows that were new to staging or different there."""
        return sum(outcome.rows_changed for outcome in self.outcomes.values())

    @property
    def rejects(self) -> int:
        """Values that could not be read, among the rows read."""
        return sum(outcome.rejects for outcome in self.outcomes.values())


def check_file(path: Path) -> None:
    """Refuse what is no SQLite file, before DuckDB attaches it without a word.

    Raises:
        SourceError: missing, a directory, unreadable, encrypted, or another kind of file.
    """
    if not path.exists():
        raise SourceError(f"SQLITE_PATH: there is no file {path}")
    if path.is_dir():
        raise SourceError(f"SQLITE_PATH: {path} is a directory; name the file inside it")
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise SourceError(f"SQLITE_PATH: {path} cannot be read: {error.strerror}") from None
    if not head or head.startswith(SQLITE_MAGIC):  # an empty file is a database without tables
        return
    if all(byte >= 32 or byte in b"\t\r\n\f" for byte in head):
        raise SourceError(f"SQLITE_PATH: {path} is a text file, not an SQLite database")
    raise SourceError(
        f"SQLITE_PATH: {path} is no readable SQLite database: encrypted (tradehouse needs it without a key), "
        "damaged, or another kind of file"
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


def symbol_of(table: str, symbols: Iterable[str]) -> str | None:
    """The configured symbol a source table belongs to, by its name with or without a broker suffix."""
    name = table.lower()
    for symbol in symbols:
        if name == symbol or name in {symbol + suffix for suffix in BROKER_SUFFIXES}:
            return symbol
    return None


def extract(session: duckdb.DuckDBPyConnection, path: Path, since: Mapping[str, int | None]) -> Extraction:
    """Read every symbol's bars from its `since` (Unix seconds, inclusive; None: all) into the session.

    Leaves two tables there: `mt5_delta` (symbol and COLUMNS, typed) and `mt5_rejects` (REJECT_COLUMNS: what
    could not be typed). A symbol that cannot be read is `failed` in the outcome and stops no other.

    Raises:
        SourceError: the file as a whole cannot be read.
    """
    check_file(path)
    session.execute(f"attach {literal(str(path))} as mt5 (type sqlite, read_only)")
    try:
        extraction, tables = _find_tables(session, path, list(since))
        _read(session, tables, since, extraction)
    finally:
        session.execute("detach mt5")
    _type_values(session)
    return extraction


def _find_tables(
    session: duckdb.DuckDBPyConnection, path: Path, symbols: Sequence[str]
) -> tuple[Extraction, dict[str, str]]:
    """Match the file's tables to the symbols; symbols without a usable table are settled in the outcome."""
    columns: dict[str, set[str]] = {}
    try:
        for table, column in _sqlite(
            session,
            "select t.name, lower(c.name) from sqlite_master as t join pragma_table_info(t.name) as c"
            " where t.type in ('table', 'view') and t.name not like 'sqlite\\_%' escape '\\'",
        ):
            columns.setdefault(table, set()).add(column)
    except duckdb.Error as error:
        if _is_locked(error):
            raise _locked(error) from None
        raise SourceError(f"SQLITE_PATH: {path} cannot be read: {_reason(error)}") from None

    outcomes = {symbol: SymbolOutcome(symbol) for symbol in symbols}
    candidates: dict[str, list[str]] = {}
    ignored = []
    for table in columns:
        symbol = symbol_of(table, symbols)
        if symbol is None:
            ignored.append(table)
        else:
            candidates.setdefault(symbol, []).append(table)

    tables = {}
    for symbol, outcome in outcomes.items():
        named = candidates.get(symbol, [])
        exact = [table for table in named if table.lower() == symbol]
        ignored += [table for table in named if exact and table not in exact]
        chosen = exact or named
        if not chosen:
            outcome.error = "the file has no table for this symbol (has its terminal started?)"
            continue
        outcome.table = chosen[0]
        lacking = [name for name in COLUMNS if name not in columns[chosen[0]]]
        if len(chosen) > 1:
            outcome.status = "failed"
            outcome.error = f"several tables claim this symbol: {', '.join(sorted(chosen))}"
        elif lacking:
            outcome.status = "failed"
            outcome.error = f"table {chosen[0]} lacks column {', '.join(lacking)}"
        else:
            tables[symbol] = chosen[0]
    return Extraction(outcomes, sorted(ignored)), tables


def _read(
    session: duckdb.DuckDBPyConnection,
    tables: Mapping[str, str],
    since: Mapping[str, int | None],
    extraction: Extraction,
) -> None:
    """Fill `mt5_raw` (every value as text) in one statement; symbol by symbol only where that one fails."""
    texts = ", ".join(f"{name} varchar" for name in ("symbol", *COLUMNS))
    session.execute(f"create or replace temp table mt5_raw ({texts})")
    if not tables:
        return
    selects = {symbol: _select(symbol, table, since[symbol]) for symbol, table in tables.items()}
    try:
        _copy_raw(session, " union all ".join(selects.values()))
    except duckdb.Error as error:
        if _is_locked(error):
            raise _locked(error) from None
        for symbol in selects:
            try:
                _copy_raw(session, selects[symbol])
            except duckdb.Error as failure:
                extraction.outcomes[symbol].status = "failed"
                extraction.outcomes[symbol].error = _reason(failure)
    counted = dict(session.execute("select symbol, count(*) from mt5_raw group by symbol").fetchall())
    for symbol in tables:
        outcome = extraction.outcomes[symbol]
        outcome.rows_read = counted.get(symbol, 0)
        if outcome.status == "missing":
            outcome.status = "unchanged" if outcome.rows_read or since[symbol] is not None else "empty"


def _select(symbol: str, table: str, since: int | None) -> str:
    """SQLite's side: every value as text that gives the exact value back.

    26 digits because SQLite's own 17 are not always the nearest ones (large exponents come back one unit
    off); a blob as the literal x'…', which is neither a number nor JSON and so ends as a reject.
    """
    cells = ", ".join(
        f"case typeof({name}) when 'real' then printf('%!.26g', {name})"
        f" when 'blob' then 'x''' || hex({name}) || '''' else {name} end as {name}"
        for name in map(identifier, COLUMNS)
    )
    # text and blobs sort after every number, so a WHERE on numbers keeps them; NULL it would not
    where = "" if since is None else f' where "timestamp" >= {since} or "timestamp" is null'
    return f"select {literal(symbol)} as symbol, {cells} from {identifier(table)}{where}"


def _copy_raw(session: duckdb.DuckDBPyConnection, select: str) -> None:
    """Run SQLite's side into `mt5_raw`; bytes that are no UTF-8, which DuckDB cannot keep as text, become x'…'."""
    cells = ", ".join(
        f"coalesce(try(decode(encode({name}))), 'x''' || hex(encode({name})) || '''')" for name in COLUMNS
    )
    session.execute(f"insert into mt5_raw select symbol, {cells} from sqlite_query('mt5', {literal(select)})")


def _sqlite(session: duckdb.DuckDBPyConnection, select: str) -> list[tuple[str, ...]]:
    return session.execute(f"select * from sqlite_query('mt5', {literal(select)})").fetchall()


def _type_values(session: duckdb.DuckDBPyConnection) -> None:
    """Split `mt5_raw` into typed rows and rejects.

    Rows without a usable key are rejects as a whole. Any other row lands, with NULL where a value could not
    be read; whether it makes a candle is decided in SQL.
    """
    session.execute(
        f"""
        create or replace temp view mt5_keyed as
        select
            *,
            case
                when regexp_full_match(timestamp, '[0-9]+([.]0*)?')
                    and try_cast(timestamp as bigint) < {LAST_TIMESTAMP}
                then try_cast(timestamp as bigint)
            end as key
        from mt5_raw
        """
    )
    # a table made without the primary key may repeat a timestamp: the row written last counts
    session.execute(
        """
        delete from mt5_raw where rowid in (
            select unnest(list(rowid order by rowid desc)[2:])
            from (select rowid, symbol, timestamp from mt5_raw)
            group by symbol, timestamp
            having count(*) > 1 and timestamp is not null
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
        "create or replace temp table mt5_changed as select * from mt5_delta except"
        f" select * from postgres_query({literal(ALIAS)}, {literal(staged)})"
    )


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


def _is_locked(error: duckdb.Error) -> bool:
    return re.search(r"\b(locked|busy)\b", str(error)) is not None


def _locked(error: duckdb.Error) -> SourceBusyError:
    return SourceBusyError(
        f"the SQLite file is locked by another program ({_reason(error)}); it is read again next time"
    )


def _reason(error: duckdb.Error) -> str:
    """The last clause of DuckDB's message, which is SQLite's own words."""
    first_line = str(error).splitlines()[0]
    return first_line.rsplit('": ', 1)[-1].removeprefix("Invalid Input Error: ")
