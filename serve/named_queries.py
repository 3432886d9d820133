"""Queries with a name: files of `sql/inspect/`."""

from __future__ import annotations

from dataclasses import dataclass

from extract.errors import QueryError
from extract.settings import SQL

NAMED_QUERIES = SQL / "inspect"


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
