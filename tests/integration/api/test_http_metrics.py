"""`GET /metrics`: values, who may read them, and what is left without a warehouse."""

from __future__ import annotations

import importlib.metadata
import json
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from extract.settings import load_project
from serve.api.metrics import WAREHOUSE
from tests.support.api_stand_ins import ADMIN_KEY, FREE_KEY, PRO_KEY, REVOKED_KEY
from tests.support.api_world import ApiWorld, Client, Got
from tests.support.collector import series
from tests.support.tenants import Tenants
from tests.support.valkey import Valkey
from tests.support.world import World

pytestmark = pytest.mark.only_on("embedded")

FIRST = 1767571200  # 2026-01-05 00:00 UTC
REMOTE = {"X_Forwarded_For": "203.0.113.7"}
VALUES: dict[str, Any] = {
    "bar_age_seconds": [["EURUSD", "M5", 61.5], ["EURUSD", "H1", 3600]],
    "tables_due": [[3]],
    "run_seconds": None,
}
EURUSD_M5 = {"symbol": "EURUSD", "timeframe": "M5"}
SECONDS = "tradehouse_http_request_seconds"


class Scraped(dict[tuple[str, frozenset[tuple[str, str]]], float]):
    """Samples by name and labels."""

    def of(self, name: str, **labels: str) -> float | None:
        return self.get((name, frozenset(labels.items())))

    def series(self, name: str) -> list[dict[str, str]]:
        return [dict(labels) for found, labels in self if found == name]


def scraped(got: Got) -> Scraped:
    assert got.status == 200, got.body
    assert got.headers["content-type"].startswith("text/plain; version=0.0.4")
    return Scraped(
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(got.body.decode())
            for sample in family.samples
        }
    )


def scrape(client: Client) -> Scraped:
    return scraped(client.get("/metrics"))


def answer_with(api_world: ApiWorld, values: dict[str, Any]) -> None:
    """Let api.metrics answer so."""
    body = f"select '{json.dumps(values)}'::json"
    api_world.execute(f"create or replace function api.metrics() returns json language sql as $$ {body} $$")


def test_requests_are_counted_by_route_method_and_status(api_world: ApiWorld) -> None:
    api_world.tick("eurusd_h1")
    with api_world.serving() as running:
        client = running.client(PRO_KEY)
        for path in ("/api/indicators/eurusd/h1", "/API/indicators/EURUSD.i/H1", "/api/indicators/xyz/h1"):
            client.get(path)
        for path in ("/nowhere", "/api/nowhere/else", "/metrics/"):
            assert client.get(path).status == 404
        assert client.get("/api/symbols", method="DELETE").status == 405
        assert client.get("/api/symbols", method="PROPFIND").status == 405
        assert client.get("/openapi.json").status == 200
        found = scrape(client)
        indicators = "/api/indicators/{symbol}/{timeframe}"
        assert found.of(f"{SECONDS}_count", route=indicators, method="GET", status="200") == 2
        assert found.of(f"{SECONDS}_count", route=indicators, method="GET", status="400") == 1
        assert found.of(f"{SECONDS}_count", route="other", method="GET", status="404") == 3
        assert found.of(f"{SECONDS}_count", route="other", method="GET", status="200") == 1
        assert found.of(f"{SECONDS}_count", route="/api/symbols", method="DELETE", status="405") == 1
        assert found.of(f"{SECONDS}_count", route="/api/symbols", method="other", status="405") == 1
        assert found.of(f"{SECONDS}_bucket", route=indicators, method="GET", status="200", le="+Inf") == 2
        spent = found.of(f"{SECONDS}_sum", route=indicators, method="GET", status="200")
        assert spent is not None
        assert 0 < spent < 60
        assert found.of("tradehouse_build_info", version=importlib.metadata.version("tradehouse")) == 1


def test_a_fault_of_ours_is_counted(api_world: ApiWorld) -> None:
    api_world.execute(
        "create or replace function api.sqlite_health() returns json language sql as 'select ''1''::json'"
    )
    with api_world.serving() as running:
        assert running.client().get("/api/health/sqlite").status == 500
        found = scrape(running.client())
        assert found.of(f"{SECONDS}_count", route="/api/health/sqlite", method="GET", status="500") == 1


def test_the_cache_redis_and_the_streams(api_world: ApiWorld, valkey: Valkey) -> None:
    api_world.tick("eurusd_h1")
    with api_world.serving(redis_url=valkey.url) as running:
        client = running.client(PRO_KEY)
        for _ in range(3):
            client.get("/api/indicators/eurusd/h1")
        stream = client.listen()
        found = scrape(client)
        assert found.of("tradehouse_cache_answers_total", outcome="miss") == 1
        assert found.of("tradehouse_cache_answers_total", outcome="hit") == 2
        assert found.of("tradehouse_cache_answers_total", outcome="stale") == 0
        assert found.of("tradehouse_streams_open") == 1
        # a stream is counted when it opens
        assert found.of(f"{SECONDS}_count", route="/api/stream", method="GET", status="200") == 1
        assert found.of("tradehouse_redis_errors_total") == 0
        stream.close()
        valkey.kill()
        client.get("/api/indicators/eurusd/h1")
        assert (scrape(client).of("tradehouse_redis_errors_total") or 0) > 0


def test_the_warehouse_is_read_at_most_once_in_ten_seconds(api_world: ApiWorld) -> None:
    answer_with(api_world, VALUES)
    with api_world.serving() as running:
        client = running.client()
        found = scrape(client)
        assert found.of("tradehouse_warehouse_up") == 1
        assert found.of("tradehouse_bar_age_seconds", **EURUSD_M5) == 61.5
        assert found.of("tradehouse_tables_due") == 3
        assert not found.series("tradehouse_run_seconds")
        answer_with(api_world, VALUES | {"tables_due": [[4]]})
        running.clock.ahead += 5
        assert scrape(client).of("tradehouse_tables_due") == 3
        running.clock.ahead += 6
        assert scrape(client).of("tradehouse_tables_due") == 4


def test_without_a_warehouse_the_rest_is_answered(api_world: ApiWorld) -> None:
    with api_world.serving() as running:  # api.metrics has not been built
        client = running.client()
        found = scrape(client)
        assert found.of("tradehouse_warehouse_up") == 0
        assert not found.series("tradehouse_tables_due")
        answer_with(api_world, VALUES)
        running.clock.ahead += 11
        assert scrape(client).of("tradehouse_warehouse_up") == 1
        api_world.execute("drop function api.metrics()")
        running.clock.ahead += 11
        found = scrape(client)
        assert found.of("tradehouse_warehouse_up") == 0
        assert not found.series("tradehouse_bar_age_seconds")
    with api_world.serving(dsn="host=127.0.0.1 port=1 connect_timeout=1") as running:
        found = scrape(running.client())
        assert found.of("tradehouse_warehouse_up") == 0
        assert found.of("tradehouse_streams_open") == 0


def test_others_need_an_admin_key(api_world: ApiWorld) -> None:
    answer_with(api_world, VALUES)
    with api_world.serving() as running:
        assert running.client(ADMIN_KEY).get("/metrics", **REMOTE).status == 200
        for key, status in ((None, 403), (FREE_KEY, 403), (PRO_KEY, 403), (REVOKED_KEY, 401), ("th_unknown", 401)):
            got = running.client(key).get("/metrics", **REMOTE)
            assert (got.status, got.json["success"]) == (status, False), key
        assert running.client().get("/metrics?tables=all").status == 400


def test_a_proxy_on_the_same_machine_is_nobody_local(api_world: ApiWorld, tmp_path: Path) -> None:
    answer_with(api_world, VALUES)
    with api_world.command(tmp_path, API_TRUSTED_PROXIES="127.0.0.1") as command:
        command.await_ready()
        assert command.client().get("/metrics").status == 200
        assert command.client().get("/metrics", **REMOTE).status == 403
        assert command.client(ADMIN_KEY).get("/metrics", **REMOTE).status == 200
    with api_world.command(tmp_path) as command:  # the proxy is not trusted, so the client seems to be on loopback
        command.await_ready()
        assert command.client().get("/metrics").status == 200
        for header in ("X_Forwarded_For", "X_Real_IP", "Forwarded"):
            assert command.client().get("/metrics", **{header: "203.0.113.7"}).status == 403, header


def test_scrapes_are_not_counted_by_the_rate_limit_and_are_no_part_of_the_document(api_world: ApiWorld) -> None:
    answer_with(api_world, VALUES)
    api_world.execute("update api.tiers set requests_per_hour = 2")
    with api_world.serving() as running:
        admin = running.client(ADMIN_KEY)
        for _ in range(4):
            assert admin.get("/metrics", **REMOTE).status == 200
            assert running.client().get("/metrics").status == 200
            assert running.client().get("/metrics", **REMOTE).status == 403
        assert admin.get("/api/symbols").headers["x-ratelimit-remaining"] == "1"
        assert running.client().get("/api/symbols").headers["x-ratelimit-remaining"] == "1"
        assert "/metrics" not in admin.get("/openapi.json").json["paths"]


@pytest.mark.only_on("embedded", "debian")
def test_the_warehouse_answers_for_every_metric_with_the_role_of_the_api(world: World, tenants: Tenants) -> None:
    world.uri = tenants.pipeline
    world.collector.write("EURUSD", series(FIRST, 300))
    world.sync()
    world.sync()
    world.execute(
        "insert into ops.sync_runs (source, command, status, started_at, finished_at, rows_changed) values"
        " ('mt5', 'sync', 'failed', now() - interval '2 hours', now() - interval '7197.5 s', 1000000)"
    )
    world.execute(
        "insert into ops.rejected_rows (source, entity, row_key, column_name, reason, extracted_at, resolved_at)"
        " select 'mt5', 'eurusd', n::text, 'open', 'no number', now(), case when n > 3 then now() end"
        " from generate_series(1, 5) as n"
    )
    rows = world.query("select coalesce(sum(rows_changed), 0)::int from ops.sync_runs where status <> 'failed'")
    with ApiWorld(tenants.api).serving() as running:
        asked = time.time()
        found = scrape(running.client())
    assert found.of("tradehouse_warehouse_up") == 1
    for name, _, labels in WAREHOUSE:
        series_of_it = found.series(f"tradehouse_{name}")
        assert series_of_it, name
        assert all(set(each) == set(labels) for each in series_of_it), name
    age = found.of("tradehouse_bar_age_seconds", **EURUSD_M5)
    assert age is not None
    assert abs(age - (asked - (FIRST + 300 * 299))) < 30
    assert len(found.series("tradehouse_bar_age_seconds")) == len(load_project().timeframes)  # of one symbol
    assert found.of("tradehouse_tables") == 135
    due = world.query("select count(*)::int from ops.sync_health where status <> 'current'")
    assert found.of("tradehouse_tables_due") == due[0][0] > 0
    assert found.of("tradehouse_source_verdict", source="mt5", verdict="failed") == 1
    assert found.of("tradehouse_runs_last_hour", source="mt5", status="failed") == 0
    assert found.of("tradehouse_runs_last_hour", source="mt5", status="partial") is not None
    assert found.of("tradehouse_rows_changed_last_hour", source="mt5") == rows[0][0] > 0
    assert found.of("tradehouse_rejects_open", source="mt5") == 3
    assert found.of("tradehouse_run_seconds", source="mt5") == 2.5
