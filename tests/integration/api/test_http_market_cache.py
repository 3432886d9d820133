"""The market's answers in the cache: what moves their version, and what does not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import Server
from tests.support.api_stand_ins import PRO_KEY, PROJECT
from tests.support.api_world import Client, Clock, Got
from tests.support.collector import Collector
from tests.support.indicator_oracle import walk
from tests.support.indicators_world import IndicatorsWorld
from tests.support.market_world import INDIA, MarketBar, MarketWorld, days
from tests.support.services import await_that

pytestmark = pytest.mark.only_on("embedded")

DAY = datetime(2025, 1, 28, tzinfo=INDIA)
NEWEST = "/api/market/1/1d?limit=1"


def other(close: float) -> list[MarketBar]:
    """The third day with another close."""
    return [MarketBar(DAY + timedelta(days=2), 1, 300, 0.5, close, 5, None, None)]


def close(got: Got) -> float:
    assert got.status == 200, got.body
    return float(got.json["data"]["ohlc"][-1]["close"])


@pytest.fixture
def held_world(market_world: MarketWorld) -> MarketWorld:
    """Three days of one instrument."""
    market_world.instrument(1, "TCS")
    market_world.write(1, "1d", days(DAY, 3))
    return market_world


@pytest.mark.parametrize(
    "announced", [("candle_data",), ("candle_data", "instrument_master"), ("indicator_data",), None]
)
def test_a_run_that_changes_the_market_moves_the_version(
    held_world: MarketWorld, announced: tuple[str, ...] | None
) -> None:
    with held_world.serving() as running:
        client = running.client(PRO_KEY)
        first = client.get(NEWEST)
        assert client.get(NEWEST).headers["x-cache"] == "hit"
        held_world.write(1, "1d", other(222))
        held_world.announce_models(*(announced or PROJECT.candle_tables))
        if announced is None:  # a tick of the candles
            await_that(lambda: client.get("/api/symbols").status == 200, "an answer", 5)
            assert close(client.get(NEWEST)) == close(first)
            return
        await_that(lambda: close(client.get(NEWEST)) == 222, "the new close", 10)
        assert client.get(NEWEST, If_None_Match=first.headers["etag"]).status == 200


def test_a_run_of_the_indicators_is_heard(server: Server, held_world: MarketWorld, tmp_path: Path) -> None:
    pipeline = IndicatorsWorld(tmp_path, server.home, held_world.uri, Collector(tmp_path / "none.db"))
    pipeline.write(1, "1h", walk(1, 60, "1h"))
    path = "/api/market/1/1h?limit=1"
    with held_world.serving() as running:
        client = running.client(PRO_KEY)
        assert client.get(path).json["data"]["indicators"]["sma_9"] == [None]
        pipeline.indicators("run")
        stored = pipeline.values(1, "1h")["sma_9"].iloc[-1]
        await_that(lambda: client.get(path).json["data"]["indicators"]["sma_9"] == [stored], "computed value", 10)


def test_a_missed_announcement_heals_within_thirty_seconds(held_world: MarketWorld) -> None:
    clock = Clock()
    with held_world.serving(clock) as running:
        client = running.client(PRO_KEY)
        before = close(client.get(NEWEST))
        held_world.write(1, "1d", other(222))
        assert close(client.get(NEWEST)) == before
        clock.ahead += 30
        assert close(client.get(NEWEST)) == 222


def test_a_search_sees_new_instruments_and_bars(held_world: MarketWorld) -> None:
    def found(client: Client) -> list[tuple[int, list[str]]]:
        answer = client.get("/api/market/instruments?search=t").json
        return [(each["instrument_id"], each["timeframes"]) for each in answer["instruments"]]

    with held_world.serving() as running:
        client = running.client(PRO_KEY)
        assert found(client) == [(1, ["1d"])]
        held_world.stamp += timedelta(seconds=1)
        held_world.instrument(2, "TATA")
        held_world.write(2, "1m", days(DAY, 1))
        held_world.announce_models("instrument_master", "candle_data")
        await_that(lambda: found(client) == [(2, ["1m"]), (1, ["1d"])], "the new instrument", 10)


def test_the_same_question_at_once_is_one_query_and_a_304_is_none(held_world: MarketWorld) -> None:
    held_world.execute("alter database tradehouse_test set track_functions = 'all'")
    with held_world.serving() as running:
        client = running.client(PRO_KEY)
        with ThreadPoolExecutor(20) as pool:
            got = list(pool.map(lambda _: client.get(NEWEST), range(20)))
        assert {each.status for each in got} == {200}
        [etag] = {each.headers["etag"] for each in got}
        unchanged = client.get(NEWEST, If_None_Match=etag)
        assert (unchanged.status, "x-ratelimit-limit" in unchanged.headers) == (304, False)
    await_that(lambda: held_world.calls("market_bars") == 1, "the count of the one query", 10)


def test_the_last_good_answer_while_the_warehouse_is_away(held_world: MarketWorld, server: Server) -> None:
    clock = Clock()
    with held_world.serving(clock) as running:
        client = running.client(PRO_KEY)
        before = close(client.get(NEWEST))
        server.kill()
        try:
            clock.ahead += 30
            got = client.get(NEWEST)
            assert (got.status, got.json["stale"], got.headers["x-cache"]) == (503, True, "stale")
            assert got.json["data"]["ohlc"][-1]["close"] == before
            assert client.get("/api/market/1/1m").status == 503
        finally:
            server.start_again()
