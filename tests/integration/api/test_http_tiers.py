"""Tiers in every spelling, keys that are revoked, rate limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.api_stand_ins import FREE_KEY, PRO_KEY, PROJECT
from tests.support.api_world import ApiWorld, Client, Clock
from tests.support.services import await_that
from tests.support.valkey import Valkey

pytestmark = pytest.mark.only_on("embedded")

FREE_SYMBOLS = {"btcusd", "eurusd", "usdjpy", "us30", "xauusd"}
FREE_TIMEFRAMES = {"H1", "H4", "D1"}
SPELLINGS = ("{}", "{}.i", "{}.PRO", "{}m", "%20{}", "{}.RAW")


def test_free_sees_its_symbols_and_timeframes_and_no_other(api_world: ApiWorld) -> None:
    api_world.execute("update api.tiers set requests_per_hour = 100000")
    with api_world.serving() as running:
        client = running.client()
        for symbol in PROJECT.symbols:
            for timeframe in PROJECT.timeframes:
                seen = symbol in FREE_SYMBOLS and timeframe in FREE_TIMEFRAMES
                got = client.get(f"/api/indicators/{symbol}/{timeframe}")
                assert got.status == (404 if seen else 403), (symbol, timeframe)  # the tables are empty
        got = client.get("/api/indicators/gbpjpy/m5")
        assert got.json["tier"] == "FREE"
        assert {each.lower() for each in got.json["accessible_symbols"]} == FREE_SYMBOLS
        assert set(got.json["accessible_timeframes"]) == FREE_TIMEFRAMES
        assert got.json["upgrade_required"] is True


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_spelling_leads_around_a_tier(api_world: ApiWorld, spelling: str) -> None:
    with api_world.serving() as running:
        client = running.client()
        hidden, seen = spelling.format("GbPjPy"), spelling.format("EurUsd")
        assert client.get(f"/API/Indicators/{hidden}/h1").status == 403
        assert client.get(f"/api/indicators/{seen}/%20m5").status == 403
        assert client.get(f"/api/indicators/{seen}/h1").status == 404
        assert client.get(f"/API/CONFLUENCE/{seen}").status == 403
        assert client.get(f"/Api/Confluence/{seen}/History?from=2026-01-05").status == 403
        assert client.get(f"/api/stream?symbols={seen}").status == 403


def test_a_tier_is_what_the_warehouse_says(api_world: ApiWorld) -> None:
    api_world.execute("update api.tiers set symbols = 'gbpjpy', stream = true where tier = 'FREE'")
    with api_world.serving() as running:
        assert running.client().get("/api/indicators/gbpjpy/h1").status == 404
        assert running.client().get("/api/indicators/eurusd/h1").status == 403
        assert running.client().listen("/api/stream?symbols=gbpjpy&timeframes=h1").answer.status == 200


def test_closed_to_callers_without_a_key(api_world: ApiWorld) -> None:
    with api_world.serving(api_without_key="closed") as running:
        assert running.client().get("/api/symbols").status == 401
        assert running.client(FREE_KEY).get("/api/symbols").status == 200
        assert running.client().get("/health").status == 200


def test_a_revoked_key_ends_within_five_seconds(api_world: ApiWorld) -> None:
    clock = Clock()
    with api_world.serving(clock) as running:
        client = running.client(PRO_KEY)
        assert client.get("/api/symbols").status == 200
        api_world.execute("update ops.api_keys set revoked_at = now() where name = %s", PRO_KEY)
        clock.ahead += 5
        assert client.get("/api/symbols").status == 401


def test_the_use_of_a_key_is_noted(api_world: ApiWorld) -> None:
    used = "select count(*) from ops.api_keys where last_used_at = date_trunc('minute', last_used_at) and name = %s"
    with api_world.serving() as running:
        assert running.client(PRO_KEY).get("/api/symbols").status == 200
        await_that(lambda: api_world.query(used, PRO_KEY) == [(1,)], "note of the key's use", 10)
    assert api_world.query("select count(last_used_at) from ops.api_keys") == [(1,)]


def _spend(client: Client, limit: int) -> list[int]:
    return [client.get("/api/symbols").status for _ in range(limit)]


def test_a_sliding_window_of_an_hour(api_world: ApiWorld) -> None:
    api_world.execute("update api.tiers set requests_per_hour = 4")
    clock = Clock()
    with api_world.serving(clock) as running:
        client = running.client()
        first = client.get("/api/symbols")
        assert (first.headers["x-ratelimit-limit"], first.headers["x-ratelimit-remaining"]) == ("4", "3")
        assert client.get("/api/symbols", If_None_Match=first.headers["etag"]).status == 304
        assert client.get("/health").status == 200
        clock.ahead += 1800
        assert client.get("/api/indicators/nope/h1").headers["x-ratelimit-remaining"] == "2"  # errors count
        assert _spend(client, 2) == [200, 200]
        refused = client.get("/api/symbols")
        assert (refused.status, refused.json["success"]) == (429, False)
        assert 1790 < int(refused.headers["retry-after"]) <= 1800
        assert refused.headers["x-ratelimit-remaining"] == "0"
        assert running.client(PRO_KEY).get("/api/symbols").status == 200  # counted by itself
        clock.ahead += 1801
        assert _spend(client, 2) == [200, 429]


@pytest.mark.parametrize(("proxies", "second"), [("", 429), ("10.0.0.9", 429), ("127.0.0.1", 200)])
def test_a_forwarded_address_counts_only_from_a_trusted_proxy(
    api_world: ApiWorld, tmp_path: Path, proxies: str, second: int
) -> None:
    api_world.execute("update api.tiers set requests_per_hour = 1")
    with api_world.command(tmp_path, API_TRUSTED_PROXIES=proxies) as command:
        command.await_ready()
        client = command.client()
        assert client.get("/api/symbols", X_Forwarded_For="10.0.0.1").status == 200
        assert client.get("/api/symbols", X_Forwarded_For="10.0.0.2").status == second


def test_two_processes_count_together_in_redis(api_world: ApiWorld, valkey: Valkey) -> None:
    api_world.execute("update api.tiers set requests_per_hour = 4")
    with api_world.serving(redis_url=valkey.url) as one, api_world.serving(redis_url=valkey.url) as other:
        assert _spend(one.client(PRO_KEY), 3) == [200] * 3
        last = other.client(PRO_KEY).get("/api/symbols")
        assert (last.status, last.headers["x-ratelimit-remaining"]) == (200, "0")
        refused = one.client(PRO_KEY).get("/api/symbols")
        assert refused.status == 429
        assert 3590 < int(refused.headers["retry-after"]) <= 3600
        valkey.kill()
        assert one.client(PRO_KEY).get("/api/symbols").status == 200  # counted in memory meanwhile
