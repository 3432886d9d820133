"""Looking inside: DuckDB over the SQLite file (`mt5`) and the warehouse (`wh`), for reading only.

`mt5` is a set of views, one per table of the file, over `sqlite_query` on a hidden alias. DuckDB's own scan of an
attached SQLite table can drop rows (see DECISIONS.md), so it does not run here. `mt5.bars` unites the symbols' tables:
symbol (lower case), timestamp and prices, in one snapshot of the file.

No statement can write or read anything else, for four independent reasons:

- both databases are attached READ_ONLY, and the Postgres session defaults to read-only transactions;
- DuckDB has no access to files (`enable_external_access`) except the one parquet file to write, and its
  configuration is locked;
- only single SELECT-like statements are accepted, so no COPY, ATTACH, LOAD, SET or CALL;
- the syntax of each statement is checked before DuckDB binds it (serve/allowed_sql.py): tables are those of `mt5` and
  `wh`, and functions that read files or send SQL to a server (`postgres_execute` can end its read-only transaction
  with a COMMIT) do not run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from extract.duckdb_session import attach_warehouse, exact_text, open_session, require_sqlite_file
from extract.errors import QueryError, SourceError
from extract.quoting import identifier, literal, printable
from extract.settings import PRICES, Project, Settings, symbol_of
from extract.warehouse import Warehouse, complaint
from serve.allowed_sql import require_allowed
from serve.exact_numbers import ALIAS as EXACT_ALIAS
from serve.exact_numbers import prepare_exact_numbers, with_exact_numbers

FILE_ALIAS = "mt5_file"
TABLES = (
    "select database_name as database, schema_name as schema, table_name as name from duckdb_tables()"
    f" where not internal and database_name not in ('{FILE_ALIAS}', '{EXACT_ALIAS}')"
    " union all select database_name, schema_name, view_name from duckdb_views()"
    f" where not internal and database_name <> '{FILE_ALIAS}' order by all"
)
"""Lists the tables to read. DuckDB's own SHOW TABLES lists the session's database, which is empty."""
SHOWS_TABLES = re.compile(r"\s*show\s+(all\s+)?tables\s*;?\s*", re.IGNORECASE)
JSON_COLUMNS = (
    "select relname::text as relation, attname::text as attribute from pg_attribute"
    " join pg_class on pg_class.oid = attrelid where atttypid in ('json'::regtype, 'jsonb'::regtype)"
)
CANDLE_RELATIONS = re.compile(
    r"\b(candles|candle_tables|sync_health|sync_symbols|rejected_bars|mt5\.bars)\b", re.IGNORECASE
)


class Inspection:
    """An open session; `notes` says what could not be attached."""

    def __init__(
        self, session: duckdb.DuckDBPyConnection, uri: str, symbols: Sequence[str], notes: Sequence[str]
    ) -> None:
        self._session = session
        self._uri = uri
        self._symbols = symbols
        self.notes = notes

    def hints(self, sql: str) -> list[str]:
        """Hints for the user: an upper-case symbol in the SQL finds nothing, because candles have lower-case ones."""
        if not CANDLE_RELATIONS.search(sql):
            return []
        return [
            f"symbols of candles are lower case: '{symbol}' finds what '{symbol.upper()}' does not"
            for symbol in self._symbols
            if literal(symbol.upper()) in sql
        ]

    def statements(self, sql: str) -> list[str]:
        """Split a text into statements.

        Raises:
            QueryError: it is not SQL, or not every statement only reads.
        """
        with self._one_line_errors():
            parsed = self._session.extract_statements(sql)
        others = [found.type.name for found in parsed if found.type != duckdb.StatementType.SELECT]
        if others:
            raise QueryError(
                f"{others[0]} does not run here: only SELECT, FROM, VALUES, SHOW, DESCRIBE and SUMMARIZE do "
                "(PIVOT needs its values listed with IN)"
            )
        return [found.query for found in parsed]

    def run(self, sql: str) -> duckdb.DuckDBPyConnection:
        """Execute one statement and return its cursor.

        Raises:
            QueryError: it is not one statement that only reads, or it fails.
        """
        statement = self._checked(sql)
        with self._one_line_errors():
            return self._session.execute(with_exact_numbers(self._session, statement))

    def json_columns(self, sql: str) -> frozenset[str]:
        """The json and jsonb columns of the warehouse's tables that a statement reads.

        DuckDB returns them as text like any other, so the columns of a result are recognised by name.

        Raises:
            QueryError: as `run`.
        """
        with self._one_line_errors():
            tables = set(_scanned(self._plan(self._checked(sql))))
            found = self._session.execute(
                "select attribute from postgres_query('wh', ?) where relation in (select unnest(?::varchar[]))",
                [JSON_COLUMNS, sorted(tables)],
            ).fetchall()
        return frozenset(row[0] for row in found)

    def write_parquet(self, sql: str, path: Path) -> None:
        """Write the rows of one statement to `path`, the one given to `open_inspection`. It is replaced atomically.

        Raises:
            QueryError: as `run`.
        """
        part = _part(path)
        try:
            statement = _without_semicolon(self._checked(sql))
            with self._one_line_errors():
                statement = with_exact_numbers(self._session, statement)
                self._session.execute(
                    f"copy (select * from (\n{statement}\n)) to {literal(str(part))}"
                    " (format parquet, use_tmp_file false)"
                )
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def _checked(self, sql: str) -> str:
        statements = self.statements(sql)
        if len(statements) != 1:
            raise QueryError(f"one statement is expected, {len(statements)} were given")
        if SHOWS_TABLES.fullmatch(statements[0]):
            return TABLES
        with self._one_line_errors():
            require_allowed(self._session, statements[0])
        return statements[0]

    def _plan(self, statement: str) -> list[dict[str, Any]]:
        with self._one_line_errors():
            rows = self._session.execute(f"explain (format json) {statement}").fetchall()
        plan: list[dict[str, Any]] = json.loads(rows[-1][1])
        return plan

    @contextmanager
    def _one_line_errors(self) -> Iterator[None]:
        try:
            yield
        except (duckdb.Error, RuntimeError) as error:  # an interrupted query is a RuntimeError
            raise QueryError(_complaint(error, self._uri)) from None


@contextmanager
def open_inspection(
    settings: Settings, project: Project, warehouse: Warehouse, parquet: Path | None = None
) -> Iterator[Inspection]:
    """A locked session over both databases. If the file cannot be read, `mt5` is missing and a note says so.

    Args:
        settings: where the file is.
        project: the symbols `mt5.bars` puts together.
        warehouse: becomes `wh`.
        parquet: the only file that can be written, and only by `write_parquet`.

    Raises:
        QueryError: the warehouse cannot be attached.
    """
    session = open_session("sqlite_scanner", "postgres_scanner")
    try:
        try:
            attach_warehouse(session, warehouse, "wh", "query")
        except duckdb.Error as error:
            raise QueryError(f"cannot attach the warehouse: {_complaint(error, warehouse.uri)}") from None
        notes = _attach_file(session, settings, project)
        prepare_exact_numbers(session)
        if parquet is not None:
            session.execute(f"set allowed_paths = [{literal(str(_part(parquet)))}]")
        session.execute("set enable_external_access = false")
        session.execute("set lock_configuration = true")
        yield Inspection(session, warehouse.uri, project.symbols, notes)
    finally:
        session.close()


def _without_semicolon(statement: str) -> str:
    """A statement that can be put in parentheses: without its final semicolon and any comments after it."""
    text = statement.encode()  # tokens are counted in bytes
    ends = [start for start, _ in duckdb.tokenize(statement) if text[start : start + 1] == b";"]
    return text[: ends[0]].decode() if ends else statement


def _part(path: Path) -> Path:
    return path.absolute().with_name(f".{path.name}.part")


def _complaint(error: Exception, uri: str) -> str:
    """DuckDB's error message on one line, without its excerpt of the statement."""
    text = complaint(error, uri)
    return re.split(r"; LINE \d+: ", text, maxsplit=1)[0]


def _attach_file(session: duckdb.DuckDBPyConnection, settings: Settings, project: Project) -> list[str]:
    if settings.sqlite_path is None:
        return ["SQLITE_PATH is not set, so only the warehouse (wh) can be read"]
    path = settings.sqlite_path.expanduser()
    try:
        require_sqlite_file(path)
        session.execute(f"attach {literal(str(path))} as {FILE_ALIAS} (type sqlite, read_only)")
        views, notes = _views(session, project)
    except SourceError as error:
        return [f"{error}; only the warehouse (wh) can be read"]
    except duckdb.Error as error:
        return [f"SQLITE_PATH: {path} cannot be read ({_complaint(error, '')}); only the warehouse (wh) can be read"]
    session.execute("attach ':memory:' as mt5")
    for name, select in views.items():
        session.execute(f"create or replace view mt5.{identifier(name)} as {select}")
    return notes


def _views(session: duckdb.DuckDBPyConnection, project: Project) -> tuple[dict[str, str], list[str]]:
    """The view of each table, `bars` over the symbols' tables, and notes on tables that cannot be read."""
    columns: dict[str, dict[str, str]] = {}
    notes = []
    # as hex, because DuckDB rejects the whole result for one name that is not UTF-8; such a table gets a note below
    names = session.execute(
        _sqlite(
            "select hex(name) as name from sqlite_master where type in ('table', 'view')"
            " and name not like 'sqlite\\_%' escape '\\' order by name"
        )
    ).fetchall()
    for name in [bytes.fromhex(found) for (found,) in names]:
        try:
            table = name.decode()
            described = session.execute(
                _sqlite(f"select name, type from pragma_table_info({literal(table)})")
            ).fetchall()
        except (UnicodeDecodeError, duckdb.Error) as error:
            reason = "its name is no UTF-8" if isinstance(error, UnicodeDecodeError) else _complaint(error, "")
            notes.append(f"{printable(name.decode('utf-8', 'backslashreplace'))} of the file cannot be read: {reason}")
            continue
        columns[table] = {column: _type(declared or "") for column, declared in described}
    views = {table: _typed(types, _source(table, types)) for table, types in columns.items()}
    needed = {"timestamp": "bigint"} | dict.fromkeys(PRICES, "double")
    symbols: dict[str, str] = {}
    for table in sorted(columns, key=lambda name: (name.lower() not in project.symbols, name)):  # exact names first
        symbol = symbol_of(table, project.symbols)
        if symbol and set(needed) <= {column.lower() for column in columns[table]}:
            symbols.setdefault(symbol, table)
    if symbols:
        # one statement for all of them is one snapshot
        every = " union all ".join(
            _source(table, needed, f"{literal(symbol)} as symbol, ") for symbol, table in symbols.items()
        )
        views["bars"] = _typed({"symbol": "varchar"} | needed, every)
    return views, notes


def _type(declared: str) -> str:
    """DuckDB's type for a declared one, by SQLite's own rules of affinity."""
    if "INT" in declared.upper():
        return "bigint"
    if any(part in declared.upper() for part in ("REAL", "FLOA", "DOUB")):
        return "double"
    return "varchar"


def _source(table: str, columns: dict[str, str], first: str = "") -> str:
    """The SELECT that SQLite runs: all values as exact text (see `exact_text`)."""
    cells = ", ".join(f"{exact_text(identifier(name))} as {identifier(name)}" for name in columns)
    return f"select {first}{cells} from {identifier(table)}"


def _typed(columns: dict[str, str], source: str) -> str:
    """The SELECT that DuckDB runs: the text cast to the column's type; NULL if the value is not of that type."""
    casts = {
        "bigint": "case when regexp_full_match({0}, '-?[0-9]+') then try_cast({0} as bigint) end",
        "double": "case when not contains({0}, '_') then try_cast({0} as double) end",
        "varchar": "coalesce(try(decode(encode({0}))), 'x''' || hex(encode({0})) || '''')",
    }
    cells = ", ".join(f"{casts[kind].format(identifier(name))} as {identifier(name)}" for name, kind in columns.items())
    return f"select {cells} from ({_sqlite(source)})"


def _sqlite(select: str) -> str:
    return f"select * from sqlite_query({literal(FILE_ALIAS)}, {literal(select)})"


def _scanned(plan: list[dict[str, Any]]) -> Iterator[str]:
    """The names of the warehouse's tables and views that a plan reads."""
    for node in plan:
        if node["name"].strip().upper() == "POSTGRES_SCAN":
            yield str(node["extra_info"].get("Table", ""))
        yield from _scanned(node["children"])
