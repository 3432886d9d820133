"""The file a MetaTrader 5 collector writes: which tables it has, and its bars as raw text.

One statement through `sqlite_query` reads all symbols, so they come from one snapshot and the file is locked only
briefly. DuckDB's own scan of SQLite tables is not used. It reads parts of a table on separate connections, so it can
miss some of the rows written together and drop the newest one (see DECISIONS.md).
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import duckdb

from extract.duckdb_session import exact_text, lacks_shared_memory, require_sqlite_file
from extract.errors import SourceBusyError, SourceError
from extract.quoting import identifier, literal, printable
from extract.settings import Columns, symbol_of

VIEW_SECONDS = 5
KEPT_CHARACTERS = 200
LONG_VALUE = r"\x00[0-9]+ bytes: "
"""How a value that is too long begins in `mt5_raw`, as a regular expression: NUL, its length; its beginning follows."""


@dataclass
class SymbolOutcome:
    """The result for one symbol in a run.

    `status` is `landed`, `unchanged`, `empty` (its table has no rows), `missing` (no table) or `failed`.
    """

    symbol: str
    status: str = "missing"
    table: str | None = None
    rows_read: int = 0
    rows_changed: int = 0
    rows_new: int = 0  # of those changed, the ones that staging did not have
    rows_withdrawn: int = 0  # of those changed, future bars that the file no longer has
    rows_gone: int = 0  # bars of the span read that staging has and the file has not
    rejects: int = 0
    newest: int | None = None  # Unix seconds, among the rows read
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the symbol needs no action."""
        return self.status in {"landed", "unchanged", "empty"}


@dataclass
class Extraction:
    """The result of one read of the file, by symbol; the rows are in the session's table `mt5_delta`."""

    outcomes: dict[str, SymbolOutcome]
    columns: Columns
    ignored_tables: list[str] = field(default_factory=list)
    changed_grids: set[tuple[str, int]] = field(default_factory=set)
    """(symbol, minutes) of every grid on which a changed row lies."""
    error: str | None = None
    """Why the file could not be read at all; there are no outcomes then."""
    modified_at: datetime | None = None
    """When the file was last modified, as `modified_at` says."""

    @property
    def ok(self) -> bool:
        """Whether file and symbols need no action."""
        return not self.problems

    @property
    def problems(self) -> list[str]:
        """What needs action, each in one line."""
        file = [self.error] if self.error else []
        return file + [f"{name}: {outcome.error}" for name, outcome in self.outcomes.items() if not outcome.ok]

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


def read_file(
    session: duckdb.DuckDBPyConnection,
    path: Path,
    columns: Columns,
    since: Mapping[str, int | None],
    until: int | None,
    longest: int,
) -> Extraction:
    """Read every symbol's bars from its `since` (Unix seconds, inclusive; None: all) into the table `mt5_raw`.

    `until` (exclusive) leaves out later bars, and with them every row whose timestamp is not a number. A symbol that
    cannot be read is `failed` in the outcome; the others are still read. Of a value of more than `longest` bytes only
    its length and its beginning come, as `LONG_VALUE` says.

    Raises:
        SourceError: the file as a whole cannot be read.
    """
    modified = modified_at(path)  # before the rows, so that it never promises more than was read
    with _attached(session, path):
        extraction, tables = _find_tables(session, path, columns, list(since))
        extraction.modified_at = modified
        selects = {name: _select(name, table, columns, since[name], until, longest) for name, table in tables.items()}
        _read(session, path, selects, extraction)
        for symbol in selects:
            outcome = extraction.outcomes[symbol]
            if outcome.status == "missing":
                outcome.status = "unchanged" if outcome.rows_read or since[symbol] is not None else "empty"
    return extraction


def modified_at(path: Path) -> datetime | None:
    """When the file or its `-wal`, where changes may lie first, was last modified; None if there is no file.

    An empty `-wal` does not count: it holds no change, and a reader may have made it.
    """
    times = []
    for each in (path, path.with_name(f"{path.name}-wal")):
        with suppress(OSError):
            found = each.stat()
            if each == path or found.st_size:
                times.append(found.st_mtime)
    return datetime.fromtimestamp(max(times), timezone.utc) if times else None


def next_timestamp(session: duckdb.DuckDBPyConnection, path: Path, symbol: str, since: int, until: int) -> int | None:
    """The oldest of a symbol's bars from `since` on and before `until`, Unix seconds; None if there is none.

    Raises:
        SourceError: the file as a whole cannot be read.
    """
    with _attached(session, path):
        _, tables = _find_tables(session, path, Columns(()), [symbol])
        if symbol not in tables:
            return None
        try:
            ((oldest,),) = _sqlite(
                session,
                f"select cast(min(timestamp) as integer) from {identifier(tables[symbol])}"
                f" where timestamp >= {since} and timestamp < {until}",
            )
        except duckdb.Error as error:
            if _is_locked(error):
                raise _locked(error, path) from None
            return None  # reading the symbol's bars reports the reason
    return None if oldest is None else int(oldest)


@contextmanager
def _attached(session: duckdb.DuckDBPyConnection, path: Path) -> Iterator[None]:
    """Attach the file as `mt5`. DuckDB opens it for each query and holds no lock between queries."""
    require_sqlite_file(path)
    session.execute(f"attach {literal(str(path))} as mt5 (type sqlite, read_only)")
    try:
        yield
    finally:
        session.execute("detach mt5")


def _find_tables(
    session: duckdb.DuckDBPyConnection, path: Path, columns: Columns, symbols: Sequence[str]
) -> tuple[Extraction, dict[str, str]]:
    """Match the file's tables to the symbols; a symbol without a valid table gets its error in the outcome."""
    outcomes = {symbol: SymbolOutcome(symbol) for symbol in symbols}
    candidates: dict[str, list[str]] = {}
    ignored = []
    names = _table_names(session, path)
    for table in names:
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
        if len(chosen) > 1:
            outcome.status = "failed"
            outcome.error = f"several tables claim this symbol: {', '.join(sorted(chosen))}"
        else:
            tables[symbol] = chosen[0]
    extraction = Extraction(outcomes, columns, sorted(map(printable, ignored)))
    for symbol, table in list(tables.items()):
        if names[table] == "view" and not _ends(path, table):
            del tables[symbol]
            outcomes[symbol].status = "failed"
            outcomes[symbol].error = f"view {table} has not ended after {VIEW_SECONDS} seconds"
    return extraction, _complete(session, path, extraction, tables)


def _ends(path: Path, view: str) -> bool:
    """Whether a view can be read within `VIEW_SECONDS`; DuckDB cannot interrupt SQLite, and would wait for ever."""
    deadline = time.monotonic() + VIEW_SECONDS
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0)) as connection,
    ):
        connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
        connection.execute(f"select count(*) from {identifier(view)}").fetchall()
    return time.monotonic() <= deadline  # reading the symbol's bars reports any other fault


def _table_names(session: duckdb.DuckDBPyConnection, path: Path) -> dict[str, str]:
    """Tables and views of the file and which of the two each is; bytes that are no UTF-8 become escapes."""
    try:
        # as hex, because DuckDB rejects the whole result for one such byte
        found = _sqlite(
            session,
            "select hex(name) as name, type from sqlite_master"
            " where type in ('table', 'view') and name not like 'sqlite\\_%' escape '\\'",
        )
    except duckdb.Error as error:
        if _is_locked(error):
            raise _locked(error, path) from None
        raise SourceError(f"SQLITE_PATH: {path} cannot be read: {_reason(error, path)}") from None
    return {bytes.fromhex(name).decode("utf-8", "backslashreplace"): kind for name, kind in found}


def _complete(
    session: duckdb.DuckDBPyConnection, path: Path, extraction: Extraction, tables: Mapping[str, str]
) -> dict[str, str]:
    """The tables that have all columns; the others are `failed` in the outcome.

    Each table has its own query, so that an error for one (such as a view of a dropped table) does not stop the others.
    """
    complete = {}
    for symbol, table in tables.items():
        outcome = extraction.outcomes[symbol]
        try:
            found = {
                name for (name,) in _sqlite(session, f"select lower(name) from pragma_table_info({literal(table)})")
            }
        except duckdb.Error as error:
            if _is_locked(error):
                raise _locked(error, path) from None
            outcome.status, outcome.error = "failed", f"{table} cannot be read: {_reason(error, path)}"
            continue
        lacking = [name for name in extraction.columns.names if name not in found]
        if lacking:
            outcome.status, outcome.error = "failed", f"table {table} lacks column {', '.join(lacking)}"
        else:
            complete[symbol] = table
    return complete


def _read(session: duckdb.DuckDBPyConnection, path: Path, selects: Mapping[str, str], extraction: Extraction) -> None:
    """Fill `mt5_raw` (every value as text) in one statement; if that fails, symbol by symbol."""
    texts = ", ".join(f"{name} varchar" for name in ("symbol", *extraction.columns.names))
    session.execute(f"create or replace temp table mt5_raw ({texts})")
    if not selects:
        return
    try:
        _copy_raw(session, extraction.columns, " union all ".join(selects.values()))
    except duckdb.Error as error:
        if _is_locked(error):
            raise _locked(error, path) from None
        for symbol in selects:
            try:
                _copy_raw(session, extraction.columns, selects[symbol])
            except duckdb.Error as failure:
                extraction.outcomes[symbol].status = "failed"
                extraction.outcomes[symbol].error = _reason(failure, path)
    for symbol, rows in session.execute("select symbol, count(*) from mt5_raw group by symbol").fetchall():
        extraction.outcomes[symbol].rows_read = rows


def _select(symbol: str, table: str, columns: Columns, since: int | None, until: int | None, longest: int) -> str:
    """The SELECT that SQLite runs: every value as text."""
    key, *values = map(identifier, columns.names)
    cells = [
        # a whole number stored as real becomes an integer: with 26 digits 1736121600.0 would be 1736121599.99…
        f"case when typeof({key}) = 'real' and {key} = cast({key} as integer) then cast({key} as integer)"
        f" else {key} end"
    ]
    cells += [exact_text(name) for name in values]
    size = "length(cast({} as blob))"  # known without counting, and the cast copies nothing
    cells = [
        f"case when typeof({name}) in ('text', 'blob') and {size.format(name)} > {longest} then char(0) ||"
        f" {size.format(name)} || ' bytes: ' || substr({name}, 1, {KEPT_CHARACTERS}) else {cell} end as {name}"
        for name, cell in zip((key, *values), cells, strict=True)
    ]
    select = f"select {literal(symbol)} as symbol, {', '.join(cells)} from {identifier(table)}"
    if until is not None:
        return f'{select} where "timestamp" >= {since or 0} and "timestamp" < {until}'
    if since is None:
        return select
    # text and blobs sort after every number, so the WHERE keeps them, but not NULL. With an OR, SQLite would not use
    # the index and read the whole table; a second SELECT costs nothing if timestamp is the primary key
    return f'{select} where "timestamp" >= {since} union all {select} where "timestamp" is null'


def _copy_raw(session: duckdb.DuckDBPyConnection, columns: Columns, select: str) -> None:
    """Copy a SQLite query's result into `mt5_raw`; text that is not UTF-8, which DuckDB cannot hold, becomes x'…'."""
    cells = ", ".join(
        f"coalesce(try(decode(encode({name}))), 'x''' || hex(encode({name})) || '''')" for name in columns.names
    )
    session.execute(f"insert into mt5_raw select symbol, {cells} from sqlite_query('mt5', {literal(select)})")


def _sqlite(session: duckdb.DuckDBPyConnection, select: str) -> list[tuple[str, ...]]:
    return session.execute(f"select * from sqlite_query('mt5', {literal(select)})").fetchall()


def _is_locked(error: duckdb.Error) -> bool:
    return re.search(r"\b(locked|busy)\b", str(error)) is not None


def _locked(error: duckdb.Error, path: Path) -> SourceBusyError:
    return SourceBusyError(
        f"the SQLite file is locked by another program ({_reason(error, path)}); it is read again next time"
    )


def _reason(error: duckdb.Error, path: Path) -> str:
    """SQLite's own message, the last part of DuckDB's, or what it means in this case."""
    first_line = str(error).splitlines()[0]
    words = first_line.rsplit('": ', 1)[-1].removeprefix("Invalid Input Error: ")
    if "readonly database" in words or "unable to open database" in words:
        if lacks_shared_memory(path):
            return (
                f"it is in WAL mode, where a reader needs {path.name}-shm; this user can neither read nor make it in "
                f"{path.parent}: start the collector, or let this user write to that directory"
            )
        if "readonly database" in words:  # a read-only reader gets this error if it finds a hot journal
            return "its writer broke off in mid-transaction, and only a writer may roll that back: start the collector"
    return words
