"""Answers over HTTP."""

from __future__ import annotations

from tests.support.api_world import PRO_KEY, ApiWorld


def test_bars_come_from_the_warehouse_then_from_the_cache(api_world: ApiWorld) -> None:
    api_world.tick("eurusd_h1")
    with api_world.serving() as running:
        first = running.client().get("/api/indicators/EURUSD.i/h1")
        assert first.status == 200, first.body
        assert first.json["metadata"]["data_source"] == "postgresql"
        assert first.json["metadata"]["tier"] == "FREE"
        second = running.client().get("/api/indicators/eurusd/H1")
        assert second.json["metadata"]["data_source"] == "cache"
        assert second.json["data"] == first.json["data"]
        assert second.headers["etag"] == first.headers["etag"]
        third = running.client().get("/api/indicators/eurusd/H1", If_None_Match=first.headers["etag"])
        assert (third.status, third.body) == (304, b"")
        assert running.client(PRO_KEY).get("/api/indicators/eurusd/H1").json["metadata"]["tier"] == "PRO"
