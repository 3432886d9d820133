"""From the collector's file to the browser: the pipeline, its functions in the warehouse, and the API."""

from __future__ import annotations

import json
import time

from tests.support.api_world import ApiWorld
from tests.support.collector import series
from tests.support.services import await_that
from tests.support.tenants import Tenants
from tests.support.world import World

FIRST = 1767571200  # 2026-01-05 00:00 UTC
BARS = 300
HISTORY = "/api/confluence/eurusd/history?from=2026-01-05&to=2026-01-06"


def test_from_the_file_to_an_event_and_the_answers(world: World) -> None:
    world.collector.write("EURUSD", series(FIRST, BARS))
    world.sync()
    added = world.run("api-keys", "add", "charts", "--tier", "PRO")
    assert added.returncode == 0, added.stderr
    key = next(word for word in added.stdout.split() if len(word) > 40)

    with ApiWorld(world.uri).serving() as running:
        client = running.client(key)
        stream = client.listen("/api/stream?symbols=eurusd")
        first = client.get("/api/indicators/EURUSD/M5?limit=5000").json
        assert [bar["time"] for bar in first["data"]["ohlc"]] == [FIRST + 300 * each for each in range(BARS)]
        assert len(first["data"]["tema"]) == BARS
        assert first["metadata"]["pro_indicators_enabled"] is True
        free = running.client().get("/api/indicators/eurusd/h1").json
        assert (free["data"]["tema"], free["metadata"]["pro_indicators_enabled"]) == (None, False)

        world.collector.write("EURUSD", series(FIRST + 300 * BARS, 1))
        world.sync()
        told = json.loads(stream.event()["data"])
        assert {"symbol": "EURUSD", "timeframe": "M5"} in told["tables"]
        second = client.get("/api/indicators/EURUSD/M5?limit=5000").json
        assert len(second["data"]["ohlc"]) == BARS + 1
        assert second["metadata"]["last_sync"] > first["metadata"]["last_sync"]

        assert len(client.get("/api/symbols").json["symbols"]) == 15
        assert client.get("/api/timeframes").json["total_count"] == 9
        instant = "2026-01-05T20:00:00Z"
        one = client.get(f"/api/confluence/EURUSD?timestamp={instant}")
        assert (one.status, one.json["symbol"]) == (200, "EURUSD")
        history = client.get("/api/confluence/EURUSD/history?from=2026-01-05T20:00Z&to=2026-01-05T21:00Z").json
        assert history["history"][0]["confluence_score"] == one.json["confluence_score"]
        assert client.get(f"/api/confluence/EURUSD/compare?timestamp1={instant}&timestamp2={instant}").status == 200
        newest = client.get("/api/health/sqlite").json["lastUpdate"]
        assert time.time() - 3600 < newest / 1000 <= time.time() + 1
        assert client.get("/api/health/postgresql").json["tables"] == 135
        assert client.get("/api/indicators/health").json["tables_total"] == 135
        assert client.get("/api/health/sync").json["sources"][0]["source"] == "mt5"
        stream.close()


def test_the_role_of_the_api_is_enough(world: World, tenants: Tenants) -> None:
    world.uri = tenants.pipeline
    world.collector.write("EURUSD", series(FIRST, BARS))
    world.sync()
    key = world.run("api-keys", "add", "admin", "--tier", "ADMIN").stdout.strip()
    with ApiWorld(tenants.api).serving() as running:
        client = running.client(key)
        for path in (
            *(
                "/api/symbols",
                "/api/timeframes",
                "/api/indicators/eurusd/h1",
                "/api/indicators/eurusd/h1?bars=resampled",
            ),
            *("/api/confluence/eurusd?timestamp=2026-01-05T20:00Z", HISTORY),
            *("/api/indicators/health", "/api/health/sqlite", "/api/health/postgresql", "/api/health/sync"),
            *("/api/admin/sync/status", "/api/admin/tables/stats"),
        ):
            assert client.get(path).status == 200, path
        stream = client.listen()
        world.collector.write("EURUSD", series(FIRST + 300 * BARS, 1))
        world.sync()
        assert "EURUSD" in stream.event()["data"]
        stream.close()
        used = "select 1 from ops.api_keys where last_used_at is not null"
        await_that(lambda: world.query(used) == [(1,)], "note of the key's use", 10)
