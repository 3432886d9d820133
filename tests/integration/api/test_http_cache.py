"""The cache: versions, single flight, hot answers, and what happens while Postgres or Redis is away."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import Server
from tests.support.api_stand_ins import PRO_KEY
from tests.support.api_world import ApiWorld, Client, Clock, Got, Running, later
from tests.support.services import await_that
from tests.support.valkey import Valkey

pytestmark = pytest.mark.only_on("embedded")

H1 = "/api/indicators/eurusd/h1"


def closing_price(got: Got) -> float:
    assert got.status == 200, got.body
    return float(got.json["data"]["ohlc"][-1]["close"])


def await_price(client: Client, price: float) -> None:
    await_that(lambda: closing_price(client.get(H1)) == price, f"close of {price}", 10)


def tuned(world: ApiWorld) -> None:
    world.execute("update api.tiers set requests_per_hour = 1000000")


def test_fifty_requests_at_once_are_one_query(api_world: ApiWorld) -> None:
    tuned(api_world)
    api_world.tick("eurusd_h1")
    api_world.slow_down(0.5)
    with api_world.serving() as running:
        client = running.client()
        with ThreadPoolExecutor(50) as pool:
            got = list(pool.map(lambda _: client.get(H1), range(50)))
        assert {each.status for each in got} == {200}
        assert len({each.headers["etag"] for each in got}) == 1
    assert api_world.calls("quick_indicators") == 1


def test_an_announcement_moves_the_version(api_world: ApiWorld) -> None:
    tuned(api_world)
    api_world.tick("eurusd_h1", close=1)
    with api_world.serving() as running:
        client = running.client()
        first = client.get(H1)
        assert closing_price(first) == 1
        api_world.tick("eurusd_h1", close=2, synced_at=later(30))
        await_price(client, 2)
        assert client.get(H1, If_None_Match=first.headers["etag"]).status == 200


def test_another_tables_announcement_moves_nothing(api_world: ApiWorld) -> None:
    tuned(api_world)
    api_world.tick("eurusd_h1", "usdjpy_h1")
    with api_world.serving() as running:
        client = running.client()
        client.get(H1)
        client.get("/api/indicators/usdjpy/h1")
        before = running.api.cache.counters.rebuilt
        api_world.tick("usdjpy_h1", close=2, synced_at=later(30))
        await_that(lambda: running.api.cache.counters.rebuilt == before + 1, "the other answer, built again", 10)
        assert client.get(H1).headers["x-cache"] == "hit"


@pytest.mark.only_on("embedded", "debian")
def test_a_missed_announcement_heals_within_thirty_seconds(api_world: ApiWorld) -> None:
    tuned(api_world)
    api_world.tick("eurusd_h1", close=1)
    clock = Clock()
    with api_world.serving(clock) as running:
        client = running.client()
        assert closing_price(client.get(H1)) == 1
        api_world.tick("eurusd_h1", close=2, synced_at=later(30), announced=False)
        assert closing_price(client.get(H1)) == 1
        clock.ahead += 30
        assert closing_price(client.get(H1)) == 2


@pytest.mark.only_on("embedded", "debian")
def test_announcements_missed_while_the_connection_was_lost(api_world: ApiWorld) -> None:
    tuned(api_world)
    api_world.tick("eurusd_h1", close=1)
    with api_world.serving() as running:
        client = running.client()
        assert closing_price(client.get(H1)) == 1
        api_world.tick("eurusd_h1", close=2, synced_at=later(30), announced=False)
        api_world.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'tradehouse api listener'"
        )
        await_price(client, 2)


def test_a_payload_that_cannot_be_read_moves_every_version(api_world: ApiWorld) -> None:
    tuned(api_world)
    api_world.tick("eurusd_h1", close=1)
    with api_world.serving() as running:
        client = running.client()
        assert closing_price(client.get(H1)) == 1
        api_world.tick("eurusd_h1", close=2, synced_at=later(30), announced=False)
        api_world.execute("select pg_notify('tradehouse_changes', 'not json')")
        await_price(client, 2)


def test_hot_answers_are_built_before_anybody_asks(api_world: ApiWorld) -> None:
    tuned(api_world)
    api_world.tick("eurusd_h1", close=1)
    clock = Clock()
    with api_world.serving(clock) as running:
        client = running.client()
        client.get(H1)
        api_world.tick("eurusd_h1", close=2, synced_at=later(30))
        await_that(lambda: running.api.cache.counters.rebuilt == 1, "answer built again", 10)
        got = client.get(H1)
        assert (got.headers["x-cache"], closing_price(got)) == ("hit", 2)
        clock.ahead += 400  # nobody has asked for a while
        client.get("/api/indicators/usdjpy/h1")
        api_world.tick("eurusd_h1", "usdjpy_h1", close=3, synced_at=later(60))
        await_that(lambda: running.api.cache.counters.rebuilt == 2, "only the answer asked for lately", 10)
        got = client.get(H1)
        assert (got.headers["x-cache"], closing_price(got)) == ("miss", 3)
        assert running.api.cache.counters.rebuilt == 2


def test_an_answer_that_a_request_builds_is_not_built_again(api_world: ApiWorld) -> None:
    tuned(api_world)
    api_world.tick("eurusd_h1", "usdjpy_h1", close=1)
    clock = Clock()
    with api_world.serving(clock) as running, ThreadPoolExecutor(1) as pool:
        client = running.client()
        client.get(H1)
        client.get("/api/indicators/usdjpy/h1")
        api_world.slow_down(2)
        api_world.tick("eurusd_h1", "usdjpy_h1", close=2, synced_at=later(30), announced=False)
        clock.ahead += 31
        asked = pool.submit(client.get, H1)
        building = (
            "select count(*) from pg_stat_activity where query like 'select api.indicators%' and state = 'active'"
        )
        await_that(lambda: api_world.query(building) == [(1,)], "request that builds its answer", 10)
        api_world.announce(["eurusd_h1", "usdjpy_h1"], later(30))
        await_that(
            lambda: running.api.cache.counters.rebuilt > 0 and not running.api._rebuilding, "end of the rebuilding", 20
        )
        assert running.api.cache.counters.rebuilt == 1  # usdjpy, for which nobody has asked again
        assert (asked.result().headers["x-cache"], closing_price(asked.result())) == ("miss", 2)
        assert client.get("/api/indicators/usdjpy/h1").headers["x-cache"] == "hit"


def test_unchanged_answers_do_not_touch_postgres(api_world: ApiWorld) -> None:
    tuned(api_world)
    api_world.tick("eurusd_h1")
    with api_world.serving() as running:
        client = running.client(PRO_KEY)
        etag = client.get(H1).headers["etag"]
        running.api.database.away_until = float("inf")  # whoever asks the warehouse now is told that it is away
        assert [client.get(H1, If_None_Match=etag).status for _ in range(5)] == [304] * 5
        assert client.get(H1, If_None_Match=f'"other", {etag}').status == 304
        assert client.get(H1, If_None_Match='W/"other"').status == 200  # from memory


def test_the_memory_is_bounded(api_world: ApiWorld) -> None:
    tuned(api_world)
    api_world.execute(
        "insert into eurusd_h1 select now() - g * interval '1 hour', random(), random(), random(), random(), now()"
        " from generate_series(1, 6000) as g"
    )
    with api_world.serving(api_memory_mb=1) as running:
        client = running.client()
        for limit in range(4980, 5001):
            assert client.get(f"{H1}?limit={limit}").status == 200
        assert 0 < running.api.cache.memory_bytes <= 1_000_000
        assert client.get(f"{H1}?limit=5000").headers["x-cache"] == "hit"
        assert client.get(f"{H1}?limit=4980").headers["x-cache"] == "miss"


@pytest.mark.parametrize("with_redis", [False, True])
def test_the_last_good_answer_while_postgres_is_away(
    api_world: ApiWorld, server: Server, valkey: Valkey, with_redis: bool
) -> None:
    tuned(api_world)
    api_world.tick("eurusd_h1", close=1)
    clock = Clock()
    settings = {"redis_url": valkey.url} if with_redis else {}
    with api_world.serving(clock, **settings) as running:
        client = running.client()
        good = client.get(H1)
        server.kill()

        def is_away() -> bool:  # its processes end one after the other
            clock.ahead += 31
            return client.get(H1).status == 503

        try:
            await_that(is_away, "end of the server", 10)
            stale = client.get(H1, Accept_Encoding="gzip")
            assert (stale.status, stale.headers["retry-after"], stale.headers["x-cache"]) == (503, "5", "stale")
            stale = client.get(H1)
            assert stale.json["stale"] is True
            assert stale.json["data"] == good.json["data"]
            assert "etag" not in stale.headers
            other = client.get("/api/indicators/eurusd/d1")
            assert (other.status, other.json["success"]) == (503, False)
            assert client.get("/health").status == 503
            assert running.api.cache.counters.stale == 3
        finally:
            server.start_again()
        await_that(lambda: client.get(H1).status == 200, "answer from the warehouse", 20)
        assert "stale" not in client.get(H1).json


def test_two_processes_share_answers(api_world: ApiWorld, valkey: Valkey) -> None:
    tuned(api_world)
    api_world.tick("eurusd_h1")
    with api_world.serving(redis_url=valkey.url) as one, api_world.serving(redis_url=valkey.url) as other:
        first = one.client().get(H1)
        second = other.client().get(H1)
        assert (first.headers["x-cache"], second.headers["x-cache"]) == ("miss", "hit")
        assert second.json["data"] == first.json["data"]
        assert second.headers["etag"] == first.headers["etag"]
    assert api_world.calls("indicators") == 1
    with valkey.client() as client:
        assert all(client.ttl(key) > 0 for key in client.scan_iter() if b"generation" not in key)


def test_an_answer_in_redis_of_another_version_is_none(api_world: ApiWorld, valkey: Valkey) -> None:
    tuned(api_world)
    api_world.tick("eurusd_h1", close=1)
    with api_world.serving(redis_url=valkey.url) as running:
        assert closing_price(running.client().get(H1)) == 1
    api_world.tick("eurusd_h1", close=2, synced_at=later(30))
    with api_world.serving(redis_url=valkey.url) as running:
        assert closing_price(running.client().get(H1)) == 2


def _fresh(running: Running, world: ApiWorld, price: float, clock: Clock) -> Got:
    """An answer of a new version, for which the process has to ask Redis."""
    clock.ahead += 31
    world.tick("eurusd_h1", close=price, synced_at=later(price * 100), announced=False)
    got = running.client().get(H1)
    assert closing_price(got) == price
    return got


def test_redis_killed_slow_full_and_back(api_world: ApiWorld, valkey: Valkey) -> None:
    tuned(api_world)
    clock = Clock()
    with api_world.serving(clock, redis_url=valkey.url) as running:
        assert _fresh(running, api_world, 1, clock).headers["x-cache"] == "miss"
        assert running.api.redis
        assert running.api.redis.errors == 0
        assert running.client().get("/api/health/redis").json["connected"] is True

        valkey.kill()
        _fresh(running, api_world, 2, clock)
        assert running.api.redis.errors > 0
        down = running.client().get("/api/health/redis")
        assert (down.status, down.json["connected"]) == (503, False)

        valkey.start()
        _fresh(running, api_world, 3, clock)
        clock.ahead += 2
        assert running.client().get("/api/health/redis").json["connected"] is True

        errors = running.api.redis.errors
        with valkey.stopped():
            _fresh(running, api_world, 4, clock)
        assert running.api.redis.errors > errors

        clock.ahead += 2
        errors = running.api.redis.errors
        with valkey.client() as client:
            client.config_set("maxmemory", 1)
            _fresh(running, api_world, 5, clock)
            client.config_set("maxmemory", 0)
        assert running.api.redis.errors > errors
        _fresh(running, api_world, 6, clock)
        with valkey.client() as client:
            assert client.exists("tradehouse:answer:indicators eurusd_h1 1000 sampled  FREE")


def test_clearing_reaches_redis_without_deleting(api_world: ApiWorld, valkey: Valkey) -> None:
    tuned(api_world)
    api_world.tick("eurusd_h1")
    admin = "th_admin_1"
    with api_world.serving(redis_url=valkey.url) as one:
        one.client().get(H1)
        assert one.client(admin).get("/api/admin/cache/clear", method="POST").status == 200
    with api_world.serving(redis_url=valkey.url) as other:
        assert other.client().get(H1).headers["x-cache"] == "miss"
