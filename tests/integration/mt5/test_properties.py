"""Whatever the history and however it is cut into runs: the tables are those of one full load."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import SMALL_CAP, Server, world_on
from tests.support.collector import bar
from tests.support.world import World

# Minutes of examples: the other server has the tests of the candles, which came out of such examples.
pytestmark = pytest.mark.only_on("embedded")

START = 1_736_118_000  # 2025-01-05 23:00 UTC: the grids of all timeframes meet an hour later
BAD_PRICES = ["abc", 1.7976931348623157e308, float("inf"), b"\x00"]
JSON_TEXTS = ['{"peaks":],"bottoms":[1]}', '{"peaks":[', "", "null", r'{"a":"\u0000"}', "[1.50]"]
INDICATORS = [None, 1.5, "abc", 1.7976931348623157e308, float("-inf")]

moments = st.one_of(
    st.integers(0, 40).map(lambda slot: START + slot * 300),
    st.integers(0, 8).map(lambda slot: START + slot * 1800),
    # seconds off the minute, around the hour where all grids meet
    st.integers(0, 130).map(lambda second: START + 3600 + second),
)
rows = st.builds(
    lambda moment, price, tema, text: bar(
        moment, tema=tema, fractals=text, zigzag=text, **({} if price is None else price)
    ),
    moments,
    st.one_of(
        st.none(),
        st.floats(0.5, 2, allow_nan=False).map(lambda value: {"close": value}),
        st.sampled_from(BAD_PRICES).map(lambda value: {"low": value}),
    ),
    st.sampled_from(INDICATORS),
    st.sampled_from(JSON_TEXTS),
)
histories = st.lists(st.lists(rows, min_size=1, max_size=25), min_size=2, max_size=4)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(history=histories)
def test_increments_equal_one_full_load(server: Server, history: list[list[dict[str, object]]]) -> None:
    with TemporaryDirectory() as directory, world_on(server, Path(directory), SMALL_CAP) as world:
        # every correction is within reach: how far the look-back sees is another test's matter
        world.settings["LOOKBACK_MINUTES"] = "100000"
        for written in history:
            world.collector.write("EURUSD", written)
            world.sync_and_check()
        in_increments = tables(world)
        world.uri = server.built_database(SMALL_CAP)
        world.sync_and_check()
        assert tables(world) == in_increments


def tables(world: World) -> list[tuple[object, ...]]:
    """All candles but for `synced_at`, which tells when a row landed."""
    return world.query(
        "select symbol, timeframe, (to_jsonb(candles) - 'synced_at')::text from candles"
        " order by symbol, timeframe, timestamp"
    )
