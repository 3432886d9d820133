"""How the oracle reads one stored SQLite value: timestamps, numbers and jsonb's judgement of a text."""

from __future__ import annotations

import json
import math
import re
import sys
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import NoReturn

EMPTY_VALUE = sys.float_info.max
"""What MT5 writes where an indicator has no value: DBL_MAX, 1.7976931348623157e308."""

YEAR_2100 = 4_102_444_800
"""2100-01-01 00:00 UTC in Unix seconds; a timestamp from there on is a mistake such as milliseconds."""


class JsonNull(Enum):
    """The JSON text `null` as a whole column value, which is not an SQL NULL."""

    NULL = "null"


class Text(bytes):
    """An SQLite text as its stored bytes, which need not be UTF-8; a blob stays plain bytes."""


def unix_seconds(value: object) -> int | None:
    """Seconds since 1970, or None when the value is no whole number from 1970 up to 2099."""
    if isinstance(value, Text) and re.fullmatch(rb"[+-]?0*[0-9]{1,10}", value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and 0 <= value < YEAR_2100 else None


def sampled_minute(timestamp: int) -> int:
    """Start of the minute `timestamp` lies in, both in Unix seconds."""
    return timestamp - timestamp % 60


def in_timeframe(timestamp: int, minutes: int) -> bool:
    """Whether the minute of the UTC day of `timestamp` (Unix seconds) lies on a grid of `minutes`."""
    minute_of_day = timestamp // 60 % 1440
    return minute_of_day % minutes == 0


def number(value: object) -> float | None:
    """A finite double, or None for everything the terminal writes when there is no number."""
    if isinstance(value, Text) and re.fullmatch(rb"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", value):
        value = float(value)
    if isinstance(value, int):
        value = float(value)
    if not isinstance(value, float) or not math.isfinite(value) or value == EMPTY_VALUE:
        return None
    return value


class JsonRefusedError(ValueError):
    """A text that PostgreSQL's jsonb does not take."""


def _jsonb_number(text: str) -> Decimal:
    value = Decimal(text)
    if len(text) > 100 or "e" in text or "E" in text:
        # Limits of numeric: 131072 digits before the decimal point, 16383 after it.
        exponent = int(value.as_tuple().exponent)
        if exponent < -16383 or exponent > 2**30 or (value != 0 and value.adjusted() > 131071):
            raise JsonRefusedError(f"number out of range: {text[:40]}")
    return value


def _refuse_constant(text: str) -> NoReturn:
    raise JsonRefusedError(f"{text} is no JSON")


_DECODER = json.JSONDecoder(parse_float=_jsonb_number, parse_int=_jsonb_number, parse_constant=_refuse_constant)
_ESCAPE = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u....|\\.")
_REFUSED_ESCAPE = re.compile(r"\\u(0000|[dD][89a-fA-F]..)")


JUDGED_LEVELS = 900


def _nesting(text: str) -> int:
    depth = deepest = 0
    for bracket in re.findall(r"[\[{\]}]", re.sub(r'"(\\.|[^"\\])*"', "", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _too_deep(text: str) -> Exception:
    # With its default stack of 2 MB Postgres takes 10,000 levels and refuses 20,000.
    if _nesting(text) < 20_000:
        return NotImplementedError("JSON nested too deeply for the oracle to judge")
    return JsonRefusedError("nested too deeply")


def parse_jsonb(text: str) -> object:
    """The value of a text that PostgreSQL's jsonb accepts.

    Raises:
        JsonRefusedError: jsonb refuses the text.
        NotImplementedError: too deep for Python but perhaps not for Postgres: no verdict.
    """
    # Escapes are judged in the text: the value of a repeated key is lost in the parsed dictionary.
    if "\\u" in text and any(_REFUSED_ESCAPE.fullmatch(escape) for escape in _ESCAPE.findall(text)):
        raise JsonRefusedError("an escape that is no character")
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise JsonRefusedError(str(error)) from error
    except RecursionError as error:
        raise _too_deep(text) from error
    # how deep Python itself gets depends on its version
    if text.count("[") + text.count("{") > JUDGED_LEVELS and _nesting(text) > JUDGED_LEVELS:
        raise _too_deep(text)
    return JsonNull.NULL if value is None else value


@lru_cache(maxsize=100_000)  # rows far apart, and symbols in tests, often carry equal texts
def json_of_text(stored: bytes) -> object:
    """The JSON value of a text's bytes, repaired when only that makes it valid, else None."""
    try:
        text = stored.decode()
    except UnicodeDecodeError:
        return None
    # The second text is the collector's defect undone: it drops the bracket of an empty list.
    for candidate in (text, text.replace('":]', '":[]')):
        try:
            return parse_jsonb(candidate)
        except JsonRefusedError:
            continue
    return None


def json_value(value: object) -> object:
    """The JSON value of a stored text; None for anything jsonb refuses and for a blob."""
    return json_of_text(value) if isinstance(value, Text) else None


def same_json(one: object, other: object) -> bool:
    """Equality of parsed JSON: 1.0 is 1.00, but true is not 1 and a JSON null is not an SQL NULL."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_json(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    return one == other
