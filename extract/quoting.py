"""Values and names as SQL text, where DuckDB, SQLite and Postgres take no parameters."""

from __future__ import annotations


def literal(text: str) -> str:
    """A string as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def printable(name: str) -> str:
    """A name for one line of output: characters that cannot be printed become escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in name)


def identifier(name: str) -> str:
    """A name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
