"""A process that writes the SQLite file as the collector on the trader's VPS does.

It must be another process than the reader: POSIX file locks do not work between two SQLite
libraries in one process. The parent sends one JSON command a line and waits for a one-line reply.
"""

from __future__ import annotations

import argparse
import json
import math
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import groupby, islice
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TextIO

SYMBOLS = (
    *("AUDJPY", "AUDUSD", "BTCUSD", "ETHUSD", "EURUSD", "GBPJPY", "GBPUSD", "NDX100"),
    *("NZDUSD", "US30", "USDCAD", "USDCHF", "USDJPY", "XAGUSD", "XAUUSD"),
)

COLUMN_TYPES = {
    "timestamp": "INTEGER PRIMARY KEY",
    **dict.fromkeys(("open", "high", "low", "close"), "REAL NOT NULL"),
    **dict.fromkeys(("fractals", "horizontal_trendlines", "diagonal_trendlines"), "TEXT"),
    **dict.fromkeys(("momentum_candles", "keltner_channels"), "TEXT"),
    **dict.fromkeys(("tema", "hrma", "smma"), "REAL"),
    "zigzag": "TEXT",
}

BANDS = tuple(
    f"{strength}_{side}"
    for side, strengths in {
        "upper": ("ultra_extreme", "extreme", "outer", "middle", "inner"),
        "lower": ("inner", "middle", "outer", "extreme", "ultra_extreme"),
    }.items()
    for strength in strengths
)

Row = Mapping[str, object]


class RawText(bytes):
    """Bytes to store as an SQLite text whatever they are, such as invalid UTF-8."""


class CollectorError(Exception):
    """The collector could not carry out a command; the message is SQLite's."""


# --- rows ------------------------------------------------------------------------------------


def bar(timestamp: int, /, **overrides: object) -> dict[str, object]:
    """A valid row that depends on nothing but its open time in Unix seconds, all columns filled."""
    opened, closed = _price(timestamp), _price(timestamp + 300)
    high, low = max(opened, closed) + 0.0003, min(opened, closed) - 0.0003
    peak = {"index": 3, "price": high, "time": timestamp - 900}
    bottom = {"index": 7, "price": low, "time": timestamp - 2100}
    columns: dict[str, object] = {
        "timestamp": timestamp,
        "open": opened,
        "high": high,
        "low": low,
        "close": closed,
        "fractals": {"peaks": [peak], "bottoms": [bottom]},
        "horizontal_trendlines": {"peak_1": [peak], "bottom_1": [bottom]},
        "diagonal_trendlines": {"ascending_1": [bottom, peak], "descending_1": [peak, bottom]},
        "momentum_candles": [{"index": 1, "type": "bullish", "zscore": closed * 2}],
        "keltner_channels": {band: closed + (4.5 - place) / 1000 for place, band in enumerate(BANDS)},
        "tema": closed + 0.0001,
        "hrma": closed - 0.0001,
        "smma": (opened + closed) / 2,
        "zigzag": {"peaks": [peak], "bottoms": [bottom]},
    }
    for column, value in columns.items():
        if isinstance(value, (dict, list)):
            columns[column] = json.dumps(value, separators=(",", ":"))
    return {**columns, **overrides}


def _price(timestamp: int) -> float:
    return 1.1 + math.sin(timestamp / 40_000) / 100 + math.sin(timestamp / 1_700) / 500


def series(start: int, count: int, step: int = 300, **overrides: object) -> list[dict[str, object]]:
    """`count` bars, the first at `start`, `step` seconds apart; overrides apply to each."""
    return [bar(start + place * step, **overrides) for place in range(count)]


# --- values on the wire ----------------------------------------------------------------------


def _encode(value: object) -> int | str | None:
    """JSON of a value, its first letter the type: doubles and bytes travel as hexadecimal digits."""
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return "f" + value.hex()
    if isinstance(value, str):
        return "s" + value
    if isinstance(value, RawText):
        return "t" + value.hex()
    if isinstance(value, bytes):
        return "b" + value.hex()
    raise TypeError(f"SQLite stores no {type(value).__name__}: {value!r}")


def _decode(sent: int | str | None) -> Any:
    if not isinstance(sent, str):
        return sent
    kind, content = sent[0], sent[1:]
    if kind == "f":
        return float.fromhex(content)
    if kind == "t":
        return RawText.fromhex(content)
    return bytes.fromhex(content) if kind == "b" else content


# --- the parent's side -----------------------------------------------------------------------


class Collector:
    """Context manager around the writing process.

    Args:
        path: the SQLite file, created when missing.
        journal: journal mode of the file.
        timeout: seconds to wait for a lock that a reader holds.
    """

    def __init__(self, path: str | Path, journal: Literal["wal", "delete"] = "wal", *, timeout: float = 5.0) -> None:
        self.path = Path(path)
        self._options = ["--journal", journal, "--timeout", str(timeout)]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Collector:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self.path), *self._options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="ascii",
        )
        try:
            self._reply()  # the first reply says whether the file could be opened
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def create(self, tables: Iterable[str] | None = None) -> None:
        """Create the tables as the collector declares them; without names those of all 15 symbols."""
        columns = ", ".join(f"{name} {kind}" for name, kind in COLUMN_TYPES.items())
        for table in SYMBOLS if tables is None else tables:
            self.execute(f"CREATE TABLE {_quoted(table)} ({columns})")

    def write(self, table: str, rows: Iterable[Row]) -> None:
        """`INSERT OR REPLACE` the rows in one transaction; rows may name different columns."""
        groups = [
            [columns, [[_encode(value) for value in row.values()] for row in group]]
            for columns, group in groupby(rows, key=tuple)
        ]
        self._ask({"table": table, "groups": groups})

    def load_many(self, table: str, rows: Iterable[Row], *, batch: int = 2_000) -> None:
        """`write` for any number of rows, a transaction for every `batch` of them."""
        remaining = iter(rows)
        while chunk := list(islice(remaining, batch)):
            self.write(table, chunk)

    def execute(self, sql: str, params: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows; it commits at once unless `BEGIN` was executed."""
        rows = self._ask({"sql": sql, "params": [_encode(value) for value in params]})
        return [tuple(map(_decode, row)) for row in rows]

    def drop(self, table: str) -> None:
        self.execute(f"DROP TABLE {_quoted(table)}")

    def close(self) -> None:
        """End the process; an open transaction is rolled back."""
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def kill(self) -> None:
        """End the process as a crash would; an open transaction stays in the file as it is."""
        if self._process is not None:
            self._process.kill()
            self.close()

    def _ask(self, command: Mapping[str, object]) -> list[list[int | str | None]]:
        if self._process is None:
            raise CollectorError("the collector is not running")
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._reply()

    def _reply(self) -> list[list[int | str | None]]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise CollectorError(f"the collector ended with exit code {self._process.wait()}")
        reply = json.loads(line)
        if "error" in reply:
            raise CollectorError(reply["error"])
        rows: list[list[int | str | None]] = reply["rows"]
        return rows


# --- the child's side ------------------------------------------------------------------------


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(stored: bytes) -> str | RawText:
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return RawText(stored)


def _execute(connection: sqlite3.Connection, sql: str, params: Sequence[object]) -> list[list[int | str | None]]:
    return [[_encode(value) for value in row] for row in connection.execute(sql, params)]


def _write(connection: sqlite3.Connection, table: str, groups: Iterable[tuple[list[str], list[list[Any]]]]) -> None:
    # A savepoint is a transaction of its own, or part of the one a test has begun.
    connection.execute("SAVEPOINT written")
    try:
        for columns, rows in groups:
            start = f"INSERT OR REPLACE INTO {_quoted(table)} ({', '.join(map(_quoted, columns))}) VALUES "
            for row in rows:
                values = [_decode(value) for value in row]
                marks = ("CAST(? AS TEXT)" if isinstance(value, RawText) else "?" for value in values)
                connection.execute(f"{start}({', '.join(marks)})", values)
    except BaseException:
        connection.execute("ROLLBACK TO written")
        raise
    finally:
        connection.execute("RELEASE written")


def _perform(connection: sqlite3.Connection, command: dict[str, Any]) -> list[list[int | str | None]]:
    if "sql" in command:
        return _execute(connection, command["sql"], [_decode(value) for value in command["params"]])
    _write(connection, command["table"], command["groups"])
    return []


def _open(path: str, journal: str, timeout: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=timeout)
    connection.text_factory = _text
    connection.execute("PRAGMA synchronous = OFF")  # a test file need not survive a power cut
    connection.execute(f"PRAGMA journal_mode = {journal}")
    return connection


def _failure(error: Exception) -> str:
    return json.dumps({"error": f"{type(error).__name__}: {error}"})


def _serve(connection: sqlite3.Connection, commands: Iterable[str]) -> Iterator[str]:
    yield json.dumps({"rows": []})
    for command in commands:
        try:
            yield json.dumps({"rows": _perform(connection, json.loads(command))})
        except Exception as error:  # the parent raises it
            yield _failure(error)


def main(commands: TextIO) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path")
    parser.add_argument("--journal", choices=("wal", "delete"), default="wal")
    parser.add_argument("--timeout", type=float, default=5.0)
    options = parser.parse_args()
    try:
        connection = _open(options.path, options.journal, options.timeout)
    except sqlite3.Error as error:
        print(_failure(error), flush=True)
        return
    with closing(connection):
        for reply in _serve(connection, commands):
            print(reply, flush=True)


if __name__ == "__main__":
    main(sys.stdin)
