"""Values and names as SQL text, for the places where DuckDB, SQLite and Postgres take no parameter."""

from __future__ import annotations


def literal(text: str) -> str:
    """A string as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def printable(name: str) -> str:
    """A name fit for a line of output: control characters and the like as escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in name)


def identifier(name: str) -> str:
    """A name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
