"""Writes query results as a table, CSV or JSON."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Container, Iterator
from datetime import date, datetime, time, timezone
from decimal import Decimal
from typing import Any, TextIO

import duckdb
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

TABLE_ROWS = 500
CELL_WIDTH = 60


def write_rows(
    cursor: duckdb.DuckDBPyConnection, kind: str, file: TextIO, json_columns: Container[str] = frozenset()
) -> None:
    """Write a result as `table`, `csv` or `json`. In `json`, `json_columns` are written as JSON, not text."""
    names = [column[0] for column in cursor.description or ()]
    if kind == "json":
        is_json = [str(column[1]) == "JSON" or column[0] in json_columns for column in cursor.description or ()]
        _write_json(names, is_json, cursor, file)
    else:
        {"table": _write_table, "csv": _write_csv}[kind](names, cursor, file)


def _rows(cursor: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while chunk := cursor.fetchmany(10_000):
        yield from chunk


def _write_csv(names: list[str], cursor: duckdb.DuckDBPyConnection, file: TextIO) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    for row in _rows(cursor):
        writer.writerow(["" if value is None else _text(value) for value in row])


def _write_json(names: list[str], is_json: list[bool], cursor: duckdb.DuckDBPyConnection, file: TextIO) -> None:
    quoted = [json.dumps(name, ensure_ascii=False) for name in names]
    separator = "[\n"
    for row in _rows(cursor):
        # a dict: if two columns have one name, the last one counts
        cells = {
            name: _embedded(value) if embed else json.dumps(_plain(value), ensure_ascii=False)
            for name, embed, value in zip(quoted, is_json, row, strict=True)
        }
        file.write(f"{separator}{{{', '.join(f'{name}: {cell}' for name, cell in cells.items())}}}")
        separator = ",\n"
    file.write("[]\n" if separator == "[\n" else "\n]\n")


def _write_table(names: list[str], cursor: duckdb.DuckDBPyConnection, file: TextIO) -> None:
    """A table as wide as its content; on a terminal too narrow for it, one block of lines per row."""
    rows = cursor.fetchmany(TABLE_ROWS + 1)
    more, rows = len(rows) > TABLE_ROWS, rows[:TABLE_ROWS]
    cells = [[_cell(value) for value in row] for row in rows]
    console = Console(file=file, highlight=False, soft_wrap=True)
    columns = list(zip(names, *cells, strict=True))
    width = sum(max(len(text) for text in column) + 2 for column in columns)
    if console.is_terminal and width > console.width and rows:
        margin = max(map(len, names))
        for number, row in enumerate(cells, 1):
            console.print(Text(f"── row {number} ──"))
            for name, text in zip(names, row, strict=True):
                console.print(Text(f"{name:>{margin}}  {text}"))
    else:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), width=None if rows else width + 2)
        for place, name in enumerate(names):
            numeric = any(isinstance(row[place], (int, float, Decimal)) for row in rows)
            table.add_column(Text(name), justify="right" if numeric else "left", no_wrap=True)
        for row in cells:
            table.add_row(*map(Text, row))
        Console(file=file, highlight=False, width=max(width + 4, 20), force_terminal=console.is_terminal).print(table)
    count = f"first {TABLE_ROWS} rows; --format csv gives all" if more else f"{len(rows)} row{'s' * (len(rows) != 1)}"
    console.print(Text(count))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime) and value.tzinfo:
        text = value.astimezone(timezone.utc).replace(tzinfo=None).isoformat(" ")
    else:
        text = " ".join(_text(value).split())
    return text if len(text) <= CELL_WIDTH else text[: CELL_WIDTH - 1] + "…"


def _text(value: Any) -> str:
    """A value as CSV and tables show it: exact, times in ISO form and UTC."""
    plain = _plain(value)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is Python's, and no JSON")


def _embedded(value: Any) -> str:
    """JSON text unchanged, with every digit of its numbers; any other value as `_plain` gives it."""
    if isinstance(value, str):
        try:
            json.loads(value, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            pass
        else:
            return value
    return json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: Any) -> Any:
    """An exact value for JSON. A value that JSON cannot hold becomes text, such as NaN (as in Postgres's to_json)."""
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, datetime) and value.tzinfo:
        return value.astimezone(timezone.utc).isoformat()
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"x'{bytes(value).hex()}'"
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
