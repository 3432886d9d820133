"""What the lists in `vars` of dbt_project.yml may hold. dbt checks the same (macros/marts/require_lists.sql)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

DAY = 1440
PRICES = ("open", "high", "low", "close")
KINDS = ("price", "number", "json")
FIELDS = {"name", "kind", "description", "dynamic", "zero_is_empty"}
NAME = re.compile(r"[a-z][a-z0-9_]{0,50}")
SYMBOL = re.compile(r"[a-z][a-z0-9]{0,30}")  # no underscore: the names of other sources' tables in staging have one
# Columns that the tables, the staging views or the view over all tables already have.
INDICATOR_TYPES = ("double precision", "smallint")
TAKEN = {"timestamp", "epoch_minute", "is_usable", "is_history", "extracted_at", "synced_at", "symbol", "timeframe"}


def faults_of_lists(variables: Mapping[str, Any]) -> list[str]:
    """What is wrong with the lists, one short text per fault that names the value; empty if nothing is wrong."""
    lists = {
        "symbols": list,
        "timeframes": dict,
        "candle_columns": list,
        "market_timeframes": list,
        "indicator_columns": list,
        "around_the_clock": list,
    }
    for name, kind in lists.items():
        if not isinstance(variables.get(name), kind) or (not variables[name] and name != "around_the_clock"):
            return [f"{name} is {variables.get(name)!r}; expected a {'mapping' if kind is dict else 'list'}"]
    return [
        *_faults_of_symbols(variables["symbols"]),
        *_faults_of_timeframes(variables["timeframes"]),
        *_faults_of_columns(variables["candle_columns"]),
        *_faults_of_indicators(variables["indicator_columns"]),
    ]


def timeframe_name(minutes: int) -> str:
    """MetaTrader's name of a timeframe: M5, H1, D1."""
    if minutes == DAY:
        return "D1"
    return f"M{minutes}" if minutes % 60 else f"H{minutes // 60}"


def _faults_of_symbols(symbols: list[Any]) -> Iterator[str]:
    for symbol in symbols:
        if not isinstance(symbol, str) or not SYMBOL.fullmatch(symbol):
            yield f"symbol {symbol!r}: expected lower-case letters and digits, a letter first, such as 'eurusd'"
    yield from (f"symbol {name!r} is listed {count} times" for name, count in _repeated(symbols))


def _faults_of_timeframes(timeframes: Mapping[Any, Any]) -> Iterator[str]:
    for name, minutes in timeframes.items():
        if type(minutes) is not int or minutes < 1 or DAY % minutes:
            yield f"timeframe {name!r}: {minutes!r} minutes; expected a whole number that divides a day (1440)"
        elif name != timeframe_name(minutes):
            yield f"timeframe {name!r}: {minutes} minutes are called {timeframe_name(minutes)!r}"


def _faults_of_columns(columns: list[Any]) -> Iterator[str]:
    for column in columns:
        if not isinstance(column, dict) or not {"name", "kind", "description"} <= set(column) <= FIELDS:
            yield f"column {column!r}: expected name, kind, description, and dynamic or zero_is_empty if need be"
            return
    for column in columns:
        name, kind = column["name"], column["kind"]
        if not isinstance(name, str) or not NAME.fullmatch(name):
            yield f"column {name!r}: expected lower-case letters, digits and underscores, a letter first"
        elif name in TAKEN:
            yield f"column {name!r}: the tables have a column of that name already"
        if kind not in KINDS:
            yield f"column {name!r}: kind is {kind!r}; expected one of {', '.join(KINDS)}"
        elif (kind == "price") != (name in PRICES):
            yield f"column {name!r}: kind is {kind!r}; {', '.join(PRICES)} are the prices, and no other column is one"
        if column.get("dynamic", False) not in (True, False):
            yield f"column {name!r}: dynamic is {column['dynamic']!r}; expected true or false"
        elif column.get("dynamic") and kind == "price":
            yield f"column {name!r}: a price cannot be dynamic"
        if column.get("zero_is_empty", False) not in (True, False):
            yield f"column {name!r}: zero_is_empty is {column['zero_is_empty']!r}; expected true or false"
        elif column.get("zero_is_empty") and kind != "number":
            yield f"column {name!r}: only a number can be zero_is_empty, and its kind is {kind!r}"
    names = [column["name"] for column in columns]
    yield from (f"column {name!r} is listed {count} times" for name, count in _repeated(names))
    yield from (f"column {price!r} is missing" for price in PRICES if price not in names)


def _faults_of_indicators(columns: list[Any]) -> Iterator[str]:
    for column in columns:
        if not isinstance(column, dict) or not {"name", "description"} <= set(column) <= {
            "name",
            "type",
            "description",
        }:
            yield f"indicator {column!r}: expected name, description, and type if need be"
            return
        name = column["name"]
        if not isinstance(name, str) or not NAME.fullmatch(name) or name in TAKEN | {"instrument_id"}:
            yield f"indicator {name!r}: expected a column name in lower case that the table does not have already"
        if column.get("type", INDICATOR_TYPES[0]) not in INDICATOR_TYPES:
            yield f"indicator {name!r}: type is {column['type']!r}; expected one of {', '.join(INDICATOR_TYPES)}"
    names = [column["name"] for column in columns]
    yield from (f"indicator {name!r} is listed {count} times" for name, count in _repeated(names))


def _repeated(values: list[Any]) -> list[tuple[str, int]]:
    return [(value, count) for value, count in Counter(map(str, values)).items() if count > 1]
