"""Columns of NumPy arrays as the binary form of Postgres' COPY, without a Python object per value."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
ROWS_AT_ONCE = 20_000
BUFFER = 1 << 20
POSTGRES_EPOCH = 946_684_800_000_000
"""2000-01-01 in microseconds since 1970: Postgres counts from there."""
FORMATS = {"bigint": ">i8", "smallint": ">i2", "double precision": ">f8", "timestamptz": ">i8"}

Columns = Mapping[str, NDArray[Any]]


def binary_rows(columns: Columns, types: Mapping[str, str]) -> io.BufferedReader:
    """A file to read from, for COPY … FROM STDIN (FORMAT binary). It holds some 20,000 rows at a time.

    Args:
        columns: name -> values, all of one length; a masked value is NULL. A timestamptz is in microseconds since 1970.
            A text is an array of bytes (`S2`) that are all of the full length.
        types: name -> Postgres type, in the order of COPY's columns.
    """
    return io.BufferedReader(_BinaryRows(columns, types), BUFFER)


class _BinaryRows(io.RawIOBase):
    """The raw form of `binary_rows`."""

    def __init__(self, columns: Columns, types: Mapping[str, str]) -> None:
        self._parts = _parts(columns, types)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with what comes next; 0 at the end."""
        while not self._rest:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._rest = memoryview(part)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def _parts(columns: Columns, types: Mapping[str, str]) -> Iterator[bytes]:
    yield HEADER
    rows = len(next(iter(columns.values())))
    for start in range(0, rows, ROWS_AT_ONCE):
        yield _encoded({name: columns[name][start : start + ROWS_AT_ONCE] for name in types}, types)
    yield TRAILER


def _encoded(columns: Columns, types: Mapping[str, str]) -> bytes:
    """Rows as records of one size: for each column its length and its value. Rows with a NULL come last, cut."""
    fields = [("fields", ">i2")]
    for name, kind in types.items():
        fields += [(f"{name} length", ">i4"), (name, columns[name].dtype.str if kind == "text" else FORMATS[kind])]
    layout = np.dtype(fields)
    template = np.zeros((), layout)
    template["fields"] = len(types)
    for name in types:
        template[f"{name} length"] = layout[name].itemsize
    records = np.full(len(columns[next(iter(types))]), template)
    nulls: dict[str, NDArray[np.bool_]] = {}
    for name, kind in types.items():
        values = columns[name]
        shift = POSTGRES_EPOCH if kind == "timestamptz" else 0
        records[name] = np.ma.getdata(values) - shift if shift else np.ma.getdata(values)
        if np.ma.is_masked(values):
            nulls[name] = np.ma.getmaskarray(values)
    if not nulls:
        return records.tobytes()
    has_null = np.logical_or.reduce(list(nulls.values()))
    whole: bytes = records[~has_null].tobytes()
    rest = {name: null[has_null] for name, null in nulls.items()}
    return whole + _cut(records[has_null], rest)


def _cut(records: NDArray[Any], nulls: Mapping[str, NDArray[np.bool_]]) -> bytes:
    """Records without the values of their NULLs, which have a length of -1."""
    kept = np.ones((len(records), records.dtype.itemsize), bool)
    layout: Any = records.dtype.fields
    for name, null in nulls.items():
        records[f"{name} length"][null] = -1
        place = layout[name][1]
        kept[null, place : place + records.dtype[name].itemsize] = False
    cut: bytes = records.view(np.uint8).reshape(kept.shape)[kept].tobytes()
    return cut
