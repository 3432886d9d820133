"""The network between API and Redis: cut, halved and stalled in the middle of an answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from serve.api.redis_store import CONNECTIONS, RedisStore
from tests.support.api_world import ApiWorld, Clock, Got, Running, later
from tests.support.proxy import Fault, Proxy
from tests.support.valkey import Valkey

pytestmark = pytest.mark.only_on("embedded")

H1 = "/api/indicators/eurusd/h1?limit=5000"
STORED = "tradehouse:answer:indicators eurusd_h1 5000 sampled  FREE"
MIDDLE = 50_000
"""Bytes after which the answer of Redis is under way: what is asked before it has some hundred."""
LIMIT_SECONDS = 0.5
"""The longest an answer waits for Redis: ten times the usual, for a busy machine delays Redis by 50 ms, too."""
QUICK = 2.0
"""Seconds."""


@dataclass
class Shared:
    """A server that finds its answers in Redis, by way of a proxy: its memory has none of the version that counts."""

    world: ApiWorld
    proxy: Proxy
    running: Running
    clock: Clock
    redis_url: str  # without the proxy
    price: float = 0.0

    def put(self) -> None:
        """Let another process of the API put an answer of a new version into Redis."""
        self.price += 1
        self.world.tick("eurusd_h1", close=self.price, synced_at=later(self.price * 100), announced=False)
        with self.world.serving(redis_url=self.redis_url) as other:
            assert other.client().get(H1).headers["x-cache"] == "miss"
        self.clock.ahead += 31  # the version is looked up anew, and Redis is asked again if it has failed

    def get(self) -> Got:
        """The answer, which is right and quick whatever Redis does."""
        started = time.perf_counter()
        got = self.running.client().get(H1)
        assert time.perf_counter() - started < QUICK
        assert (got.status, len(got.json["data"]["ohlc"])) == (200, 5000)
        assert got.json["data"]["ohlc"][-1]["close"] == self.price
        return got

    @property
    def errors(self) -> int:
        assert self.running.api.redis
        return self.running.api.redis.errors


@pytest.fixture
def shared(api_world: ApiWorld, valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shared]:
    """5,000 bars whose compressed answer is larger than `MIDDLE`."""
    monkeypatch.setattr("serve.api.redis_store.LIMIT_SECONDS", LIMIT_SECONDS)
    api_world.execute("update api.tiers set requests_per_hour = 1000000")
    api_world.execute(
        "insert into eurusd_h1 select '2026-01-05 10:00+00'::timestamptz - g * interval '1 hour', random(), random(),"
        " random(), random(), '2026-01-05 10:00+00' from generate_series(1, 5000) as g"
    )
    clock = Clock()
    with Proxy(f"host=127.0.0.1 port={valkey.port}") as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        with api_world.serving(clock, redis_url=url) as running:
            yield Shared(api_world, proxy, running, clock, valkey.url)


def test_an_answer_comes_through_the_proxy(shared: Shared) -> None:
    shared.put()
    before = shared.proxy.forwarded
    assert shared.get().headers["x-cache"] == "hit"
    assert shared.proxy.forwarded - before > 2 * MIDDLE
    assert shared.errors == 0


@pytest.mark.parametrize("fault", ["close", "reset", "stall"])
def test_redis_is_cut_in_the_middle_of_an_answer(shared: Shared, fault: Fault) -> None:
    for round_ in range(1, 4):
        shared.put()
        shared.proxy.fail_after(MIDDLE, fault)
        assert shared.get().headers["x-cache"] == "miss"
        assert (shared.proxy.struck, shared.errors) == (round_, round_)
        shared.proxy.mend()  # what was held back of the old answer arrives now
        shared.put()
        assert shared.get().headers["x-cache"] == "hit"
        assert shared.errors == round_


def test_many_requests_while_redis_stalls(shared: Shared) -> None:
    """The connections of all of them have half an answer in them; none may be used again."""
    shared.put()
    others = [f"/api/indicators/eurusd/h1?limit={limit}" for limit in range(4994, 5000)]
    expected = [shared.running.client().get(path).json["data"] for path in others]
    with ThreadPoolExecutor(len(others)) as pool:
        shared.running.api.cache._clear_memory()
        shared.proxy.fail_after(MIDDLE, "stall")
        got = list(pool.map(shared.running.client().get, others))
        assert [each.json["data"] for each in got] == expected
        assert shared.errors > 0
        shared.proxy.mend()
        shared.clock.ahead += 2
        shared.running.api.cache._clear_memory()
        errors = shared.errors
        got = list(pool.map(shared.running.client().get, others))
        assert [each.json["data"] for each in got] == expected
        assert {each.headers["x-cache"] for each in got} == {"hit"}
        assert shared.errors == errors


def test_half_a_value_is_none(shared: Shared, valkey: Valkey) -> None:
    """Somebody else's tool, or a fault of the memory: the value is there and is not whole."""
    shared.put()
    with valkey.client() as client:
        stored = client.get(STORED)
        assert isinstance(stored, bytes)
        for broken in (stored[: len(stored) // 2], stored[:-1], stored[:20], b"", b"\xff" * 100):
            client.set(STORED, broken)
            shared.running.api.cache._clear_memory()
            assert shared.get().headers["x-cache"] == "miss"
            shared.running.api.cache._clear_memory()
            assert shared.get().headers["x-cache"] == "hit"  # the miss has put a whole one there
    assert shared.errors == 0


def test_the_cut_is_said_once(shared: Shared, caplog: pytest.LogCaptureFixture) -> None:
    shared.put()
    shared.proxy.fail_after(MIDDLE, "close")
    shared.get()
    said = [each.getMessage() for each in caplog.records if "Redis" in each.getMessage()]
    assert said == ["Redis does not answer within 500 ms: ConnectionError"]


def test_more_requests_at_once_than_connections_to_redis(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.api.redis_store.LIMIT_SECONDS", 5.0)

    async def ask() -> tuple[int, int]:
        store = RedisStore(valkey.url)
        await asyncio.gather(*(store.ping() for _ in range(200)))
        with valkey.client() as client:
            connections = sum(each["name"] == "tradehouse-api" for each in client.client_list())
        await store.close()
        return store.errors, connections

    assert asyncio.run(ask()) == (0, CONNECTIONS)
