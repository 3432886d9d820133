"""Any slicing of a series ends in the table of the whole series, and one check shares no code with TA-Lib."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import count

import duckdb
import pandas as pd  # type: ignore[import-untyped]
import psycopg2
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from extract.duckdb_session import attach_warehouse, open_session
from extract.records import Run
from extract.settings import Project, load_project
from extract.warehouse import Connection, Warehouse
from indicators.batch import SeriesBatch
from indicators.load import Loader
from indicators.plan import batches, find
from tests.support.indicator_oracle import walk
from tests.support.indicators_world import IndicatorsWorld

pytestmark = pytest.mark.only_on("embedded")

BARS = 4_500
FIRST = 3_300
"""Bars of the first slice: more than the warm-up and the overlap, so that increments need not read all."""

EMA = """
create function pg_temp.ema_next(state double precision [], price double precision, period integer)
returns double precision []
language sql immutable
as $$
    select case
        when state[1] + 1 < period then array[state[1] + 1, state[2] + price, null]
        when state[1] + 1 = period then array[state[1] + 1, 0, (state[2] + price) / period]
        else array[state[1] + 1, 0, (price - state[3]) * (2.0::double precision / (period + 1)) + state[3]]
    end
$$;
create aggregate pg_temp.ema(double precision, integer)
(sfunc = pg_temp.ema_next, stype = double precision [], initcond = '{0, 0, null}');
"""


@dataclass
class InProcess:
    """The stages in this process, on a world's warehouse."""

    world: IndicatorsWorld
    project: Project
    connection: Connection
    session: duckdb.DuckDBPyConnection
    numbers: Iterator[int]

    def run(self) -> int:
        """Compute and load what has changed; return how many candles that took."""
        plan = find(self.connection, self.project.market_timeframes, (), ())
        run = Run.start(self.connection, "indicators", "test")
        read = 0
        for part in batches(plan.series):
            path = self.world.directory / f"{next(self.numbers)}.parquet"
            batch = SeriesBatch(self.session, self.project.indicator_types, plan.has_values)
            batch.write(part, str(path))
            read += batch.candles_read
            Loader(run, self.project).load(path)
        run.conclude([])
        return read


@pytest.fixture
def stages(indicators_world: IndicatorsWorld) -> Iterator[InProcess]:
    session = open_session("postgres_scanner")
    attach_warehouse(session, Warehouse(indicators_world.uri, embedded=False), "wh", "test")
    with closing(psycopg2.connect(indicators_world.uri)) as connection:
        connection.autocommit = True
        yield InProcess(indicators_world, load_project(), connection, session, count())
    session.close()


steps = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 500)),
    st.tuples(st.just("late"), st.integers(0, 2)),
    st.tuples(st.just("revise"), st.integers(0, FIRST - 1)),
    st.tuples(st.just("adjust"), st.integers(1, FIRST)),
)


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # an example takes seconds: too much to shrink by
)
@given(
    seed=st.integers(0, 10_000),
    flat=st.none() | st.tuples(st.integers(0, 3_000), st.integers(3_001, BARS)),
    quiet=st.none() | st.tuples(st.integers(0, 3_000), st.integers(3_001, BARS)),
    holes=st.lists(st.integers(0, FIRST - 1), min_size=3, max_size=3, unique=True),
    history=st.lists(steps, min_size=1, max_size=3),
)
def test_any_slices_equal_the_whole(
    stages: InProcess,
    seed: int,
    flat: tuple[int, int] | None,
    quiet: tuple[int, int] | None,
    holes: list[int],
    history: list[tuple[str, int]],
) -> None:
    world = stages.world
    world.clear()
    bars = walk(seed, BARS, flat=flat, quiet=quiet)
    world.write(1, "1m", bars.iloc[:FIRST].drop(index=holes))
    assert stages.run() == FIRST - len(holes)
    end = FIRST
    for kind, number in history:
        if kind == "append":
            changed = bars.iloc[end : end + number]
            end = min(BARS, end + number)
        elif kind == "late":
            changed = bars.iloc[[holes[number]]]
        else:
            changed = world.held[1, "1m"].iloc[[number]] if kind == "revise" else world.held[1, "1m"].iloc[:number]
            factor = 1.25
            changed = changed.assign(**{name: changed[name] * factor for name in ("open", "high", "low", "close")})
        if not changed.empty:
            world.write(1, "1m", changed)
        stages.run()
        world.check()
    versions = world.versions()
    assert stages.run() == 0
    assert world.versions() == versions


def test_an_increment_of_many_series_reads_their_tails_alone(stages: InProcess) -> None:
    world = stages.world
    series = {number: walk(number, 6_000 + number) for number in range(1, 5)}
    for number, bars in series.items():
        world.write(number, "1m", bars.iloc[:6_000])
    stages.run()
    for number, bars in series.items():
        world.write(number, "1m", bars.iloc[6_000:])
    assert stages.run() == 4 * 2_800 + sum(series)
    world.check()


def test_a_moving_average_in_sql_has_the_same_bits(stages: InProcess) -> None:
    world = stages.world
    world.write(1, "1m", walk(1, 5_000))
    stages.run()
    with world.connection() as connection, connection.cursor() as cursor:
        cursor.execute(EMA)
        for period in (9, 21, 50, 200):
            cursor.execute(
                "select count(*), count(*) filter (where ours is distinct from theirs) from ("
                f" select ema_{period} as theirs, (pg_temp.ema(close, {period}) over (order by timestamp))[3] as ours"
                " from market.candle_data join market.indicator_data using (instrument_id, timeframe, timestamp)"
                ") as compared"
            )
            assert cursor.fetchone() == (5_000, 0)


def test_levels_of_a_day_follow_a_late_bar_of_the_day_before(stages: InProcess) -> None:
    world = stages.world
    bars = walk(3, 3 * 375)
    highest = int(bars["high"].iloc[375:750].idxmax())
    world.write(1, "1m", bars.drop(index=highest))
    stages.run()
    before = world.values(1, "1m")["pivot_r1"]
    world.write(1, "1m", bars.iloc[[highest]])
    stages.run()
    world.check()
    after = world.values(1, "1m")["pivot_r1"]
    pd.testing.assert_series_equal(after.iloc[:750].drop(index=bars.loc[highest, "at"]), before.iloc[:749])
    assert (after.iloc[750:] != before.iloc[749:]).all()
