"""Reads the warehouse's NUMERIC exactly: DuckDB takes one without a declared precision for a double.

A statement that names such a relation is given a view in its place, over a query that Postgres runs: each of these
columns is DECIMAL(38, s) where that holds every value of it, with room for a sum, and text where it does not.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import duckdb

from extract.quoting import identifier, literal
from serve.syntax import Node, nodes, syntax_tree

ALIAS = "exact"
DIGITS, ROOM = 38, 3
"""Digits of DuckDB's DECIMAL, and those left free for sums."""

_COLUMNS = """
select
    attname::text as name,
    atttypid = 'numeric'::regtype and atttypmod = -1 as is_unbounded
from pg_attribute
where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped
order by attnum
"""


def prepare_exact_numbers(session: duckdb.DuckDBPyConnection) -> None:
    """Make room for the views; before the session's configuration is locked."""
    session.execute(f"attach ':memory:' as {ALIAS}")


def with_exact_numbers(session: duckdb.DuckDBPyConnection, statement: str) -> str:
    """The statement with relations of `wh` that have unbounded NUMERIC columns replaced by exact views.

    A statement that DuckDB cannot take apart (SHOW, DESCRIBE) or that does not work with the views stays as it is.
    """
    tree = syntax_tree(session, statement)
    if tree["error"]:
        return statement
    relations = [
        node
        for node, _ in nodes(tree)
        if node.get("type") == "BASE_TABLE" and (node["catalog_name"] or node["schema_name"]).lower() == "wh"
    ]
    replaced = [node for node in relations if _replace(session, node)]
    if not replaced:
        return statement
    with suppress(duckdb.Error):
        row = session.execute(f"select json_deserialize_sql({literal(json.dumps(tree))}::json)").fetchone()
        if row:
            session.execute(f"explain {row[0]}")
            return str(row[0])
    return statement


def _replace(session: duckdb.DuckDBPyConnection, node: Node) -> bool:
    """Point a node at a view, if its relation needs one."""
    schema, table = (node["schema_name"] if node["catalog_name"] else "public") or "public", node["table_name"]
    relation = f"{identifier(schema)}.{identifier(table)}"
    columns = _ask(session, _COLUMNS.replace("%s", literal(relation)))
    unbounded = [name for name, is_unbounded in columns if is_unbounded]
    if not unbounded:
        return False
    types = _types(session, relation, unbounded)
    cells = ", ".join(
        f"{identifier(name)}::{types[name]} as {identifier(name)}" if name in types else identifier(name)
        for name, _ in columns
    )
    session.execute(f"create schema if not exists {ALIAS}.{identifier(schema)}")
    session.execute(
        f"create or replace view {ALIAS}.{relation} as"
        f" select * from postgres_query('wh', {literal(f'select {cells} from {relation}')})"
    )
    node["catalog_name"], node["schema_name"] = ALIAS, schema
    node["alias"] = node["alias"] or table
    return True


def _types(session: duckdb.DuckDBPyConnection, relation: str, names: list[str]) -> dict[str, str]:
    """Column -> the Postgres type to cast it to."""
    measures = ", ".join(
        f"max(scale({identifier(name)})) as scale_{place},"
        f" max(length(split_part(abs({identifier(name)})::text, '.', 1))) as whole_{place},"
        f" coalesce(bool_or({identifier(name)}::text in ('NaN', 'Infinity', '-Infinity')), false) as special_{place}"
        for place, name in enumerate(names)
    )
    [row] = _ask(session, f"select {measures} from {relation}")
    types = {}
    for place, name in enumerate(names):
        scale, whole, is_special = row[3 * place : 3 * place + 3]
        fits = not is_special and (scale or 0) + (whole or 0) + ROOM <= DIGITS
        types[name] = f"numeric({DIGITS}, {scale or 0})" if fits else "text"
    return types


def _ask(session: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    """Rows of a query that Postgres runs."""
    return session.execute(f"select * from postgres_query('wh', {literal(sql)})").fetchall()
