"""What a statement of `tradehouse query` may read, judged by its syntax.

The judgement comes before DuckDB binds the statement, because binding already opens files and connects to servers:
`describe sqlite_scan('/any/file', 't')` never runs, and still tells the file's columns.
"""

from __future__ import annotations

import duckdb

from extract.errors import QueryError
from serve.syntax import Node, nodes, syntax_tree

DATABASES = {"mt5", "wh"}
# DuckDB's own lists of tables and columns, without a database before them
CATALOGS = {"information_schema", "pg_catalog"}
# Table functions that make rows or tell of the session. No other runs: they read files, send SQL to servers, or take
# the name or the text of what they read as a value.
FUNCTIONS = {
    *("range", "generate_series", "unnest", "repeat", "repeat_row", "json_each", "json_tree"),
    *("pragma_version", "pragma_database_size", "pg_timezone_names", "icu_calendar_names"),
    *("duckdb_columns", "duckdb_constraints", "duckdb_databases", "duckdb_extensions", "duckdb_functions"),
    *("duckdb_indexes", "duckdb_keywords", "duckdb_schemas", "duckdb_secrets", "duckdb_settings", "duckdb_tables"),
    *("duckdb_types", "duckdb_views"),
}


def require_allowed(session: duckdb.DuckDBPyConnection, statement: str) -> None:
    """Check that a statement reads tables of `mt5` and `wh`, and nothing else.

    Raises:
        QueryError: it reads something else, or it is no SELECT.
        duckdb.Error: it cannot be parsed.
    """
    tree = syntax_tree(session, statement)
    if tree["error"]:
        raise QueryError(f"this does not run here: {tree['error_message']}")
    for node, with_names in nodes(tree):
        kind = node.get("type")
        if kind == "BASE_TABLE":
            _require_table(node, with_names)
        elif kind == "TABLE_FUNCTION":
            _require_function(node["function"].get("function_name", ""))


def _require_table(node: Node, with_names: frozenset[str]) -> None:
    catalog, schema, table = (node[part].lower() for part in ("catalog_name", "schema_name", "table_name"))
    if catalog in DATABASES or (not catalog and schema in DATABASES | CATALOGS):
        return
    if not catalog and not schema and table in with_names:
        return
    name = ".".join(part for part in (node["catalog_name"], node["schema_name"], node["table_name"]) if part)
    raise QueryError(f"{name} does not run here: read mt5.<table> instead, of the SQLite file, or wh.<table>")


def _require_function(name: str) -> None:
    if name.lower() == "sqlite_scan":
        raise QueryError(
            "DuckDB's own scan of SQLite tables can drop rows and does not run here: read mt5.<table> instead"
        )
    if name.lower() not in FUNCTIONS:
        raise QueryError(f"{name.lower()} does not run here: a query may only read tables of mt5 and wh")
