"""What the comparison of the oracle reports, on rows and shapes as read from Postgres, written by hand."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal

import pytest

from tests.support.oracle import COLUMNS, SHAPE, Candle, DatabaseRow, Shape, row_differences, shape_differences

MIDNIGHT = datetime(2024, 1, 2, tzinfo=timezone.utc)
CANDLE = Candle(open=1.5, high=2.0, low=1.0, close=1.5, zigzag={"a": [Decimal("1.0"), True]})
ONE_AND_A_HALF, ONE, TWO = "3ff8000000000000", "3ff0000000000000", "4000000000000000"
STORED = dict(zip(COLUMNS, (ONE_AND_A_HALF, TWO, ONE, ONE_AND_A_HALF, *[None] * 8, '{"a": [1.00, true]}'), strict=True))
MICROSECONDS = 1_704_153_600_000_000


def compared(*rows: DatabaseRow) -> list[str]:
    return list(row_differences("eurusd_h1", {MIDNIGHT: CANDLE}, rows))


def stored(microseconds: int = MICROSECONDS, *, is_synced: bool = True, **values: str | None) -> DatabaseRow:
    return DatabaseRow(microseconds, tuple({**STORED, **values}.values()), is_synced)


def test_equal_rows_have_no_differences() -> None:
    assert compared(stored()) == []


@pytest.mark.parametrize(
    ("row", "line"),
    [
        (stored(close="3ff8000000000001"), "close: expected 1.5, got 1.5000000000000002"),
        (stored(close=None), "close: expected 1.5, got NULL"),
        (stored(tema="0000000000000000"), "tema: expected NULL, got 0.0"),
        (stored(fractals="null"), "fractals: expected NULL, got JsonNull.NULL"),
        (
            stored(zigzag='{"a": [1.0, 1]}'),
            """zigzag: expected {"a": ["Decimal('1.0')", true]}, """
            """got {"a": ["Decimal('1.0')", "Decimal('1')"]}""",
        ),
        (stored(zigzag=None), """zigzag: expected {"a": ["Decimal('1.0')", true]}, got NULL"""),
        (stored(zigzag="[]"), """zigzag: expected {"a": ["Decimal('1.0')", true]}, got []"""),
        (stored(is_synced=False), "synced_at: expected a time, got NULL"),
    ],
)
def test_an_unequal_value_is_named(row: DatabaseRow, line: str) -> None:
    assert compared(row) == ["eurusd_h1 2024-01-02T00:00:00Z " + line]


def test_zero_and_minus_zero_are_different_doubles() -> None:
    candle = Candle(open=-0.0, high=2.0, low=1.0, close=1.5, zigzag=CANDLE.zigzag)
    (line,) = row_differences("eurusd_h1", {MIDNIGHT: candle}, [stored(open="0000000000000000")])
    assert line == "eurusd_h1 2024-01-02T00:00:00Z open: expected -0.0, got 0.0"


def test_missing_extra_and_repeated_rows_are_named() -> None:
    assert compared() == ["eurusd_h1 2024-01-02T00:00:00Z: the row is missing"]
    assert compared(stored(), stored(MICROSECONDS + 1)) == [
        "eurusd_h1 2024-01-02T00:00:00.000001Z: the row should not be there"
    ]
    assert compared(stored(), stored()) == [
        "eurusd_h1: a row whose timestamp is not finite or not unique",
    ]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"tema": ("real", "YES")},
            "eurusd_h1.tema: expected ('double precision', 'YES'), got ('real', 'YES')",
        ),
        (
            {"synced_at": ("timestamp with time zone", "YES")},
            "eurusd_h1.synced_at: expected ('timestamp with time zone', 'NO'), got ('timestamp with time zone', 'YES')",
        ),
        ({"extra": ("text", "YES")}, "eurusd_h1.extra: expected no such column, got ('text', 'YES')"),
    ],
)
def test_a_column_of_another_shape_is_named(change: Shape, line: str) -> None:
    assert list(shape_differences("eurusd_h1", {**SHAPE, **change}, ["timestamp"])) == [line]


def test_a_missing_column_and_another_key_are_named() -> None:
    shape = {column: kind for column, kind in SHAPE.items() if column != "smma"}
    assert list(shape_differences("eurusd_h1", shape, [])) == [
        "eurusd_h1.smma: expected ('double precision', 'YES'), got no such column",
        "eurusd_h1: expected primary key ['timestamp'], got []",
    ]
    assert list(shape_differences("eurusd_h1", SHAPE, ["timestamp"])) == []


def test_the_specified_shape() -> None:
    assert SHAPE["timestamp"] == SHAPE["synced_at"] == ("timestamp with time zone", "NO")
    assert SHAPE["open"] == SHAPE["close"] == ("double precision", "NO")
    assert SHAPE["hrma"] == ("double precision", "YES")
    assert SHAPE["fractals"] == SHAPE["zigzag"] == ("jsonb", "YES")
    assert len(SHAPE) == 15
