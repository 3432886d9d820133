"""How the oracle reads single values, each stored unconverted in a file and written down by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from tests.support.collector import Collector, RawText, bar
from tests.support.oracle import COLUMNS, Candle, expected_tables
from tests.support.oracle_values import JsonNull, parse_jsonb, same_json

DAY = datetime(2024, 1, 2, tzinfo=timezone.utc)
DBL_MAX = 1.7976931348623157e308


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    """A file whose table EURUSD has no types, so that SQLite converts nothing."""
    with Collector(tmp_path / "trading_data.db") as running:
        running.execute(f"CREATE TABLE EURUSD (timestamp, {', '.join(COLUMNS)})")
        yield running


def landed(collector: Collector, column: str, values: Sequence[object]) -> list[Candle | None]:
    """For each value, stored in `column` of a bar of its own, the M5 candle it becomes, if any."""
    opens = [DAY + place * timedelta(minutes=5) for place in range(len(values))]
    bars = [bar(int(open_time.timestamp()), **{column: value}) for open_time, value in zip(opens, values, strict=True)]
    collector.write("EURUSD", bars)
    rows = expected_tables(collector.path)["eurusd", "M5"]
    return [rows.get(open_time) for open_time in opens]


# --- timestamps ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (0, datetime(1970, 1, 1, tzinfo=timezone.utc)),
        (4_102_444_500, datetime(2099, 12, 31, 23, 55, tzinfo=timezone.utc)),
        (1_704_153_600.0, DAY),
        ("1704153600", DAY),
    ],
)
def test_a_whole_number_of_seconds_is_a_timestamp(collector: Collector, stored: object, expected: datetime) -> None:
    collector.write("EURUSD", [bar(0, timestamp=stored)])
    assert list(expected_tables(collector.path)["eurusd", "M5"]) == [expected]


def test_anything_else_is_no_timestamp(collector: Collector) -> None:
    values: list[object] = [
        *(None, -300, 4_102_444_800, 1_704_153_600_000, 1_704_153_600.5, math.inf, "", "2024-01-02"),
        *("1704153600.0", "1.7e9", "0x10", "1_704_153_600", "9" * 5000, " 1704153600"),
        *(b"1704153600", RawText(b"1704153600\x00"), RawText(b"\xff")),
    ]
    collector.write("EURUSD", [bar(0, timestamp=value) for value in values])
    collector.write("EURUSD", [bar(1_704_153_600)])
    assert list(expected_tables(collector.path)["eurusd", "M5"]) == [DAY]


# --- numbers ---------------------------------------------------------------------------------

NUMBERS: dict[object, float] = {
    7: 7.0,
    0.1 + 0.2: 0.30000000000000004,
    -DBL_MAX: -DBL_MAX,
    5e-324: 5e-324,
    "1.5": 1.5,
    "-.5e-3": -0.0005,
    "+12.": 12.0,
    "1E2": 100.0,
    "0.30000000000000004": 0.30000000000000004,
}
NO_NUMBERS: list[object] = [
    *(None, DBL_MAX, math.inf, -math.inf, b"1.5", b""),
    *("", "n/a", "nan", "inf", "Infinity", "1e999", "1.7976931348623157e308", "1_000", "0x1F"),
    *("1,5", "1.5.2", "e5", ".", "--1", " 1.5", "1.5\n", "\u0661"),
    *(RawText(b"1.5\x00"), RawText(b"1.5\xff")),
]


@pytest.mark.parametrize("column", ["open", "high", "low", "close", "tema", "hrma", "smma"])
def test_a_number_is_read_as_a_double(collector: Collector, column: str) -> None:
    candles = landed(collector, column, list(NUMBERS))
    assert [getattr(candle, column) for candle in candles] == list(NUMBERS.values())


@pytest.mark.parametrize(("column", "read"), [("open", 0.0), ("tema", None), ("hrma", None), ("smma", None)])
def test_zero_is_a_price_and_no_average(collector: Collector, column: str, read: float | None) -> None:
    candles = landed(collector, column, [0, 0.0, -0.0, "0", "0.0"])
    assert [getattr(candle, column) for candle in candles if candle] == [read] * 5


@pytest.mark.parametrize("column", ["open", "high", "low", "close"])
def test_a_price_that_is_no_number_rejects_the_row(collector: Collector, column: str) -> None:
    *candles, good = landed(collector, column, [*NO_NUMBERS, 1.5])
    assert candles == [None] * len(NO_NUMBERS)
    assert good is not None


@pytest.mark.parametrize("column", ["tema", "hrma", "smma"])
def test_an_average_that_is_no_number_is_null_and_the_row_lands(collector: Collector, column: str) -> None:
    for candle in landed(collector, column, NO_NUMBERS):
        assert candle is not None
        assert getattr(candle, column) is None


# --- JSON ------------------------------------------------------------------------------------

JSON: dict[object, object] = {
    ' \t\r\n{"a" : [ ] }\n': {"a": []},
    '{"a":1,"a":2}': {"a": Decimal(2)},
    "1.50": Decimal("1.5"),
    "1e131071": Decimal("1e131071"),
    "1e-16383": Decimal("1e-16383"),
    "123456789012345678901234567890.1": Decimal("123456789012345678901234567890.1"),
    "true": True,
    "null": JsonNull.NULL,
    '"\\ud83d\\ude00\\u00e9"': "😀é",
    '"\\\\u0000"': "\\u0000",
    '"\x7f"': "\x7f",
    5: Decimal(5),
    1.5: Decimal("1.5"),
    # The collector's defect, repaired wherever it stands.
    '{"peaks":],"bottoms":[{"index":1}]}': {"peaks": [], "bottoms": [{"index": Decimal(1)}]},
    '{"peaks":],"bottoms":]}': {"peaks": [], "bottoms": []},
    # Valid as it is: the same characters inside a string are not touched.
    '{"a":"x\\":]"}': {"a": 'x":]'},
    # Not valid as it is, so that the repair changes the string as well.
    '{"a":"x\\":]","b":]}': {"a": 'x":[]', "b": []},
}
NO_JSON: list[object] = [
    *(None, b'{"a":1}', "", " ", "{", '{"a":1,}', "[1 2]", "1 2", "'a'", "{a:1}", "nul", "TRUE"),
    *("NaN", "[Infinity]", "[-Infinity]", "01", "+1", ".5", "5.", "1e", "1e131072", "1e-16384"),
    *('"\\u0000"', '{"\\u0000":1}', '{"a":"\\u0000","a":1}', '"\\ud800"', '"\\ude00\\ud83d"', '"\\x"'),
    *('"a\tb"', '"a\nb"', "\x0b1", "\u00a01", "\ufeff1", '{"a":1}\x00', '{"a":"\x00"}'),
    *(RawText(b'{"a":"\xff"}'), RawText(b'"\xed\xa0\x80"'), math.inf),
    *('{"a":]', '{"a": ]}', '{"a":[}', '{"a":],}', "[" * 50_000, "[" * 50_000 + "]" * 50_000),
]


def test_json_that_jsonb_accepts_is_its_value(collector: Collector) -> None:
    for candle, expected in zip(landed(collector, "zigzag", list(JSON)), JSON.values(), strict=True):
        assert candle is not None
        assert same_json(candle.zigzag, expected), (candle.zigzag, expected)


@pytest.mark.parametrize("column", ["momentum_candles", "keltner_channels", "zigzag"])
def test_json_that_jsonb_refuses_is_null_and_the_row_lands(collector: Collector, column: str) -> None:
    for candle in landed(collector, column, NO_JSON):
        assert candle is not None
        assert getattr(candle, column) is None


def test_json_too_deep_to_judge_is_no_silent_verdict() -> None:
    assert isinstance(parse_jsonb("[" * 500 + "]" * 500), list)
    with pytest.raises(NotImplementedError, match="nested too deeply"):
        parse_jsonb("[" * 5000 + "]" * 5000)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Decimal("1.0"), Decimal("1.00"), True),
        (Decimal(1), True, False),
        (Decimal(0), False, False),
        (Decimal(1), "1", False),
        (None, JsonNull.NULL, False),
        ([None], [None], True),
        ({"a": Decimal(1), "b": []}, {"b": [], "a": Decimal("1e0")}, True),
        ({"a": Decimal(1)}, {"a": True}, False),
        ({"a": None}, {}, False),
        ([Decimal(1)], [Decimal(1), Decimal(2)], False),
        ([Decimal(1), Decimal(2)], [Decimal(2), Decimal(1)], False),
        ([], {}, False),
    ],
)
def test_json_values_are_compared_by_kind_and_value(one: object, other: object, same: bool) -> None:
    assert same_json(one, other) is same
    assert same_json(other, one) is same
