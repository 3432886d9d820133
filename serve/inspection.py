"""Looking inside: DuckDB over the SQLite file (`mt5`) and the warehouse (`wh`), for reading only.

`mt5` is a set of views, one per table of the file, over `sqlite_query` on a hidden alias: DuckDB's own scan of
an attached SQLite table can drop rows (see DECISIONS.md), so it is refused here. `mt5.bars` puts the symbols'
tables together: symbol (lower case), timestamp and prices, in one snapshot of the file.

Nothing a statement says can write, for four reasons that do not depend on each other:

- both databases are attached READ_ONLY, and the Postgres session defaults to read-only transactions;
- DuckDB has no file system (`enable_external_access`), but for the one file parquet goes to, and its
  configuration is locked;
- only single SELECT-like statements are accepted, so no COPY, ATTACH, LOAD, SET or CALL;
- the plan of each is looked at before it runs: functions that carry SQL of their own to a server
  (`postgres_execute` can leave its read-only transaction by a COMMIT) are refused wherever they hide.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psycopg2.extensions

from extract.duckdb_session import exact_text, open_session, require_sqlite_file
from extract.errors import QueryError, SourceError
from extract.quoting import identifier, literal
from extract.settings import PRICES, SQL, Project, Settings, symbol_of
from extract.warehouse import Warehouse, complaint

FILE_ALIAS = "mt5_file"
NAMED_QUERIES = SQL / "inspect"
# Table functions that read what is attached, or nothing; all others are refused.
HARMLESS_FUNCTIONS = {"SQLITE_QUERY", "RANGE", "GENERATE_SERIES", "UNNEST", "REPEAT", "REPEAT_ROW"}
HARMLESS_FUNCTIONS |= {"JSON_EACH", "JSON_TREE", "PRAGMA_TABLE_INFO", "PRAGMA_VERSION", "PRAGMA_DATABASE_SIZE"}
HARMLESS_SCANS = {"POSTGRES_SCAN", "SQLITE_QUERY"}


@dataclass(frozen=True)
class NamedQuery:
    """A file of `sql/inspect/`; its first line is a comment with the question it answers."""

    name: str
    question: str
    sql: str


def named_queries() -> dict[str, NamedQuery]:
    """All named queries, by name."""
    found = {}
    for file in sorted(NAMED_QUERIES.glob("*.sql")):
        sql = file.read_text(encoding="utf-8")
        found[file.stem] = NamedQuery(file.stem, sql.splitlines()[0].removeprefix("--").strip(), sql)
    return found


def query_text(given: str) -> str:
    """The SQL to run: what was given, or the named query behind an `@name`.

    Raises:
        QueryError: there is no query of that name.
    """
    stripped = given.strip().rstrip(";").rstrip()
    if not stripped.startswith("@"):
        return given
    known = named_queries()
    if stripped[1:] not in known:
        raise QueryError(f"there is no query {stripped}; there are {', '.join('@' + name for name in known)}")
    return known[stripped[1:]].sql


class Inspection:
    """An open session; `notes` says what could not be attached."""

    def __init__(self, session: duckdb.DuckDBPyConnection, uri: str, notes: Sequence[str]) -> None:
        self._session = session
        self._uri = uri
        self.notes = notes

    def statements(self, sql: str) -> list[str]:
        """Split a text into statements.

        Raises:
            QueryError: it is no SQL, or not all of it reads only.
        """
        with self._one_line_errors():
            parsed = self._session.extract_statements(sql)
        refused = [found.type.name for found in parsed if found.type != duckdb.StatementType.SELECT]
        if refused:
            raise QueryError(
                f"{refused[0]} is refused: only SELECT, FROM, VALUES, SHOW, DESCRIBE and SUMMARIZE run here "
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
            return self._session.execute(statement)

    def write_parquet(self, sql: str, path: Path) -> None:
        """Write the rows of one statement to `path`, which `open_inspection` was told of; replaced at once, whole.

        Raises:
            QueryError: as `run`.
        """
        part = _part(path)
        try:
            statement = _without_semicolon(self._checked(sql))
            with self._one_line_errors():
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
        with self._one_line_errors():
            rows = self._session.execute(f"explain (format json) {statements[0]}").fetchall()
        for plan in json.loads(rows[-1][1]):
            _refuse_functions(plan)
        return statements[0]

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
    """A locked session over both databases; without a readable file `mt5` is absent and a note says so.

    Args:
        settings: where the file is.
        project: the symbols `mt5.bars` puts together.
        warehouse: becomes `wh`.
        parquet: the only file that can be written, and only by `write_parquet`.

    Raises:
        QueryError: the warehouse cannot be attached.
    """
    session = open_session()
    try:
        try:
            _attach_warehouse(session, warehouse)
        except duckdb.Error as error:
            raise QueryError(f"cannot attach the warehouse: {_complaint(error, warehouse.uri)}") from None
        notes = _attach_file(session, settings, project)
        if parquet is not None:
            session.execute(f"set allowed_paths = [{literal(str(_part(parquet)))}]")
        session.execute("set enable_external_access = false")
        session.execute("set lock_configuration = true")
        yield Inspection(session, warehouse.uri, notes)
    finally:
        session.close()


def _without_semicolon(statement: str) -> str:
    """A statement fit to stand in parentheses: without the semicolon that ends it and the comments behind."""
    text = statement.encode()  # tokens are counted in bytes
    ends = [start for start, _ in duckdb.tokenize(statement) if text[start : start + 1] == b";"]
    return text[: ends[0]].decode() if ends else statement


def _part(path: Path) -> Path:
    return path.absolute().with_name(f".{path.name}.part")


def _complaint(error: Exception, uri: str) -> str:
    """DuckDB's complaint on one line, without the picture of the statement and the echo of ours."""
    text = complaint(error, uri)
    return re.split(r"; LINE \d+: ", text, maxsplit=1)[0]


def _attach_warehouse(session: duckdb.DuckDBPyConnection, warehouse: Warehouse) -> None:
    """Attach `wh`; the password goes into a secret, because `duckdb_databases()` shows the rest."""
    parameters = psycopg2.extensions.parse_dsn(warehouse.uri)
    password = parameters.pop("password", None)
    parameters["options"] = f"{parameters.get('options', '')} -c default_transaction_read_only=on".strip()
    parameters["application_name"] = f"tradehouse query pid {os.getpid()} on {socket.gethostname()}"[:63]
    parameters.setdefault("connect_timeout", "10")
    secret = ""
    if password:
        session.execute(f"create secret wh (type postgres, password {literal(password)})")
        secret = ", secret wh"
    session.execute(
        f"attach {literal(psycopg2.extensions.make_dsn(**parameters))} as wh (type postgres, read_only{secret})"
    )


def _attach_file(session: duckdb.DuckDBPyConnection, settings: Settings, project: Project) -> list[str]:
    if settings.sqlite_path is None:
        return ["SQLITE_PATH is not set: there is no mt5, only wh"]
    path = settings.sqlite_path.expanduser()
    try:
        require_sqlite_file(path)
        session.execute(f"attach {literal(str(path))} as {FILE_ALIAS} (type sqlite, read_only)")
        views = _views(session, project)
    except SourceError as error:
        return [f"{error}: there is no mt5, only wh"]
    except duckdb.Error as error:
        return [f"SQLITE_PATH: {path} cannot be read ({_complaint(error, '')}): there is no mt5, only wh"]
    session.execute("attach ':memory:' as mt5")
    for name, select in views.items():
        session.execute(f"create or replace view mt5.{identifier(name)} as {select}")
    return []


def _views(session: duckdb.DuckDBPyConnection, project: Project) -> dict[str, str]:
    """The view of each table, and `bars` over the symbols' tables."""
    columns: dict[str, dict[str, str]] = {}
    for table, column, declared in session.execute(
        _sqlite(
            "select t.name as t, c.name as c, c.type as declared"
            " from sqlite_master as t join pragma_table_info(t.name) as c"
            " where t.type in ('table', 'view') and t.name not like 'sqlite\\_%' escape '\\' order by t.name, c.cid"
        )
    ).fetchall():
        columns.setdefault(table, {})[column] = _type(declared or "")
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
    return views


def _type(declared: str) -> str:
    """DuckDB's type for a declared one, by SQLite's own rules of affinity."""
    if "INT" in declared.upper():
        return "bigint"
    if any(part in declared.upper() for part in ("REAL", "FLOA", "DOUB")):
        return "double"
    return "varchar"


def _source(table: str, columns: dict[str, str], first: str = "") -> str:
    """SQLite's side: all values as text that gives the exact value back, as `exact_text` makes them."""
    cells = ", ".join(exact_text(identifier(name)) for name in columns)
    return f"select {first}{cells} from {identifier(table)}"


def _typed(columns: dict[str, str], source: str) -> str:
    """DuckDB's side: the text cast to the column's type; NULL where the value is not of it."""
    casts = {
        "bigint": "case when regexp_full_match({0}, '-?[0-9]+') then try_cast({0} as bigint) end",
        "double": "case when not contains({0}, '_') then try_cast({0} as double) end",
        "varchar": "coalesce(try(decode(encode({0}))), 'x''' || hex(encode({0})) || '''')",
    }
    cells = ", ".join(f"{casts[kind].format(identifier(name))} as {identifier(name)}" for name, kind in columns.items())
    return f"select {cells} from ({_sqlite(source)})"


def _sqlite(select: str) -> str:
    return f"select * from sqlite_query({literal(FILE_ALIAS)}, {literal(select)})"


def _refuse_functions(node: dict[str, Any]) -> None:
    """Refuse a plan that holds a table function which is not known to be harmless.

    The plan is what will run: `query('from postgres_' || 'execute(…)')` shows its true name here.
    """
    name = node["name"].strip().upper()
    function = str((node.get("extra_info") or {}).get("Function", name if name in HARMLESS_FUNCTIONS else "")).upper()
    if name == "SQLITE_SCAN":
        raise QueryError("DuckDB's own scan of SQLite tables can drop rows and is refused: read mt5.<table> instead")
    if function and function not in HARMLESS_FUNCTIONS and not function.startswith("DUCKDB_"):
        raise QueryError(f"{function.lower()} is refused: a query may read tables of mt5 and wh, no more")
    if name.startswith(("POSTGRES_", "SQLITE_", "JSON_EXECUTE")) and name not in HARMLESS_SCANS:
        raise QueryError(f"{name.lower()} is refused: a query may read tables of mt5 and wh, no more")
    for child in node["children"]:
        _refuse_functions(child)
