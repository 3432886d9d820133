"""Single values of the source: what no table can hold, and what is repaired."""

from __future__ import annotations

import pytest

from tests.support.collector import RawText, bar, series
from tests.support.world import World

MONDAY = 1_736_121_600  # 2025-01-06 00:00 UTC
EMPTY_VALUE = 1.7976931348623157e308


def test_unusable_prices_leave_the_bar_out(world: World) -> None:
    bad = [EMPTY_VALUE, float("inf"), float("-inf"), "abc", b"\x01\x02", "1_000", ""]
    rows = [
        bar(MONDAY + i * 300, **{column: value})
        for i, (column, value) in enumerate(
            (column, value) for column in ("open", "high", "low", "close") for value in bad
        )
    ]
    world.collector.write("EURUSD", [*rows, bar(MONDAY + 60 * 300)])
    world.sync_and_check()
    assert world.query("select count(*) from eurusd_m5") == [(1,)]
    rejected = world.query("select count(*), count(distinct bar_key) from ops.rejected_bars where left_out = 'bar'")
    assert rejected == [(28, 28)]
    originals = world.query(
        "select original from ops.rejected_bars where bar_key::bigint < %s order by bar_key", MONDAY + 7 * 300
    )
    assert [row[0] for row in originals] == [
        "1.7976931348623157e+308",
        "Infinity",
        "-Infinity",
        "abc",
        "x'0102'",
        "1_000",
        "",
    ]


def test_unreadable_indicator_values_are_null_and_the_rest_of_the_row_lands(world: World) -> None:
    bad = [EMPTY_VALUE, float("inf"), float("-inf"), "abc", b"\x01", None, 0.0, -0.0, 0, "0"]
    rows = [bar(MONDAY + i * 300, tema=value, hrma=value, smma=value) for i, value in enumerate(bad)]
    world.collector.write("EURUSD", rows)
    world.sync_and_check()
    assert world.query("select count(*), count(tema), count(hrma), count(smma), count(zigzag) from eurusd_m5") == [
        (10, 0, 0, 0, 10)
    ]
    rejected = world.query("select original, count(*) from ops.rejected_bars group by original order by original")
    assert rejected == [("abc", 3), ("x'01'", 3)]


JSON_TEXTS = {
    "dropped bracket": '{"peaks":],"bottoms":[{"index":1}]}',
    "two dropped brackets": '{"peaks":],"bottoms":]}',
    "the same characters inside a string": r'{"a":"x\":]"}',
    "truncated": '{"peaks":[1,2',
    "empty text": "",
    "no JSON": "hello",
    "NaN": '{"a":NaN}',
    "escaped NUL": r'{"a":"\u0000"}',
    "lone surrogate": r'{"a":"\ud800"}',
    "single quotes": "{'a':1}",
    "trailing comma": "[1,]",
    "scalar": "17",
    "JSON null": "null",
    "very deep": "[" * 20_000 + "]" * 20_000,
    "large number": '{"a":123456789012345678901234567890.10}',
    "duplicate keys": '{"a":1,"a":2}',
    "unicode": '{"a":"é€😀"}',
    "blob": b'{"a":1}',
    "NUL character": RawText(b'{"a":"x\x00y"}'),
    "invalid UTF-8": RawText(b'{"a":"\xff\xfe"}'),
}


@pytest.mark.parametrize("column", ["zigzag", "fractals"])
def test_json_is_repaired_kept_or_rejected(world: World, column: str) -> None:
    rows = [bar(MONDAY + i * 300, **{column: text}) for i, text in enumerate(JSON_TEXTS.values())]
    world.collector.write("EURUSD", rows)
    world.collector.write("GBPUSD", series(MONDAY, 3))
    world.sync_and_check()
    kept = ["dropped bracket", "two dropped brackets", "the same characters inside a string", "scalar", "JSON null"]
    kept += ["large number", "duplicate keys", "unicode"]
    rejected = world.query("select bar_key::bigint from ops.rejected_bars where column_name = %s", column)
    names = {name for i, name in enumerate(JSON_TEXTS) if (MONDAY + i * 300,) in rejected}
    assert names == set(JSON_TEXTS) - set(kept)


def test_impossible_timestamps_are_rejected_and_hide_nothing(world: World) -> None:
    in_milliseconds = MONDAY * 1000
    world.collector.write("EURUSD", [*series(MONDAY, 3), bar(in_milliseconds), bar(-60), bar(4_102_444_800)])
    world.sync_and_check()
    world.collector.write("EURUSD", series(MONDAY + 900, 3))
    world.sync_and_check()
    rejected = world.query("select bar_key, column_name from ops.rejected_bars order by bar_key")
    assert rejected == [(str(t), "timestamp") for t in (-60, in_milliseconds, 4_102_444_800)]


def test_doubles_are_exact_to_the_last_bit(world: World) -> None:
    awkward = [1.1234567890123457, 0.1 + 0.2, 5e-324, 1.4523142177899403e308, 2.2250738585072014e-308, 1 / 3]
    rows = [bar(MONDAY + i * 300, open=v, high=v, low=v, close=v, tema=-v) for i, v in enumerate(awkward)]
    world.collector.write("EURUSD", rows)
    world.sync_and_check()
    assert [row[0] for row in world.query("select close from eurusd_m5 order by timestamp")] == awkward
