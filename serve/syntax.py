"""The syntax tree of a statement, as DuckDB parses it without binding it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import duckdb

from extract.errors import QueryError
from extract.quoting import literal

Node = dict[str, Any]


def syntax_tree(session: duckdb.DuckDBPyConnection, statement: str) -> Node:
    """The tree of a SELECT; of any other statement only `error` and `error_message`.

    Raises:
        QueryError: the statement is nested too deeply.
        duckdb.Error: it cannot be parsed.
    """
    # in the statement: for a parameter DuckDB imports pandas where that is installed
    ((text,),) = session.execute(f"select json_serialize_sql({literal(statement)})").fetchall()
    try:
        tree: Node = json.loads(text)
    except RecursionError:
        raise QueryError("the statement is nested too deeply") from None
    return tree


def nodes(tree: Node) -> Iterator[tuple[Node, frozenset[str]]]:
    """Each node of a syntax tree, with the lower-case names that WITH clauses give at its place."""
    waiting: list[tuple[Any, frozenset[str]]] = [(tree, frozenset())]
    while waiting:
        node, names = waiting.pop()
        if isinstance(node, dict):
            if "cte_map" in node:
                names |= {each["key"].lower() for each in node["cte_map"]["map"]}
            yield node, names
            waiting += [(child, names) for child in node.values()]
        elif isinstance(node, list):
            waiting += [(child, names) for child in node]
