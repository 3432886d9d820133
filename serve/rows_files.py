"""Writes rows as CSV, JSON or Parquet, exactly: no amount passes through a floating-point number."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Sequence
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

import duckdb

from extract.quoting import identifier, literal

DIGITS = 38
"""The most that DuckDB's DECIMAL holds."""


def write_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]], file: TextIO) -> None:
    """CSV with a header; times in ISO form and UTC, NULL as nothing."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([["" if value is None else exact_text(value) for value in row] for row in rows])


def write_json(columns: Sequence[str], rows: Sequence[Sequence[Any]], file: TextIO) -> None:
    """A list of objects; amounts are text, because a JSON number is read as a double."""
    objects = [dict(zip(columns, map(_plain, row), strict=True)) for row in rows]
    file.write(json.dumps(objects, indent=2, ensure_ascii=False) + "\n")


def write_parquet(columns: Sequence[str], rows: Sequence[Sequence[Any]], path: Path) -> None:
    """Parquet; amounts are DECIMAL where 38 digits hold every one of the column, else text."""
    types = [_type([row[place] for row in rows]) for place in range(len(columns))]
    casts = ", ".join(
        f"cast({identifier(name)} as {kind}) as {identifier(name)}" for name, kind in zip(columns, types, strict=True)
    )
    names = ", ".join(f"{literal(name)}: 'varchar'" for name in columns)
    with tempfile.TemporaryDirectory() as directory, duckdb.connect() as session:
        source, target = Path(directory) / "rows.csv", Path(directory) / "rows.parquet"
        with source.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
            writer.writerows([["\\N" if value is None else exact_text(value) for value in row] for row in rows])
        session.execute("set timezone = 'UTC'")
        session.execute(
            f"copy (select {casts} from read_csv({literal(str(source))}, header = false, delim = ',', quote = '\"',"
            f" escape = '\"', nullstr = '\\N', columns = {{{names}}})) to {literal(str(target))} (format parquet)"
        )
        path.write_bytes(target.read_bytes())


def exact_text(value: Any) -> str:
    """A value as text, from which it can be read back exactly."""
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).isoformat()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int) else exact_text(value)


def _type(values: Sequence[Any]) -> str:
    """DuckDB's type for the values of a column."""
    kinds = {type(value) for value in values if value is not None}
    if kinds and kinds <= {int, Decimal}:
        numbers = [Decimal(value) for value in values if value is not None]
        if kinds == {int} and all(abs(number) < 2**63 for number in numbers):
            return "bigint"
        scale = max(max(0, -int(number.as_tuple().exponent)) for number in numbers)
        whole = max(max(0, number.adjusted() + 1) for number in numbers)
        return f"decimal({DIGITS}, {scale})" if whole + scale <= DIGITS else "varchar"
    simple = {bool: "boolean", date: "date", datetime: "timestamptz"}
    return simple.get(next(iter(kinds)), "varchar") if len(kinds) == 1 else "varchar"
