"""Endpoints and errors over HTTP, and the command that serves them."""

from __future__ import annotations

import gzip
import json
import re
import socket
from pathlib import Path

import pytest

from tests.support.api_stand_ins import ADMIN_KEY, ANSWERS, EXPIRED_KEY, FREE_KEY, PRO_KEY, REVOKED_KEY
from tests.support.api_world import START, ApiWorld, Client, Clock, later

pytestmark = pytest.mark.only_on("embedded")

ADMIN_PATHS = {
    "/api/trades/summary": "trades_summary",
    "/api/trades/equity-curve": "trades_equity_curve",
    "/api/trades/pnl-by-time": "trades_pnl_by_time",
    "/api/trades/exit-reasons": "trades_exit_reasons",
    "/api/trades/open-lots": "trades_open_lots",
    "/api/trades/completed?limit=5&offset=10": "trades_completed",
    "/api/accounts": "accounts",
    "/api/admin/sync/status": "sync_status",
    "/api/admin/tables/stats": "table_stats",
}


@pytest.mark.only_on("embedded", "debian")
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


def test_headers_of_an_answer(api_world: ApiWorld) -> None:
    api_world.tick("eurusd_h1")
    with api_world.serving() as running:
        free, pro = (running.client(key).get("/api/indicators/eurusd/h1") for key in (None, PRO_KEY))
        assert free.headers["cache-control"] == "private, max-age=60, must-revalidate"
        assert pro.headers["cache-control"] == "private, max-age=0, must-revalidate"
        assert free.headers["etag"] != pro.headers["etag"]
        assert "Authorization" in pro.headers["vary"]
        packed = running.client().get("/api/indicators/eurusd/h1", Accept_Encoding="gzip")
        assert packed.headers["content-encoding"] == "gzip"
        plain = running.client().get("/api/indicators/eurusd/h1", Accept_Encoding="gzip;q=0, identity")
        assert "content-encoding" not in plain.headers
        assert gzip.decompress(packed.body) == plain.body


def test_paging_back(api_world: ApiWorld) -> None:
    api_world.execute(
        "insert into eurusd_h1 select %s + g * interval '1 hour', 1, 2, 0.5, g, %s from generate_series(0, 9) as g",
        START,
        START,
    )
    with api_world.serving() as running:
        client = running.client()
        newest = client.get("/api/indicators/eurusd/h1?limit=3").json["data"]["ohlc"]
        assert [bar["close"] for bar in newest] == [7, 8, 9]
        for before in ("2026-01-05T17:00:00Z", "2026-01-05T19:00:00%2B02:00", "1767632400", "2026-01-05T17:00"):
            earlier = client.get(f"/api/indicators/eurusd/h1?limit=3&before={before}").json["data"]["ohlc"]
            assert [bar["close"] for bar in earlier] == [4, 5, 6], before
        nothing = client.get("/api/indicators/eurusd/h1?before=2026-01-05T10:00:00Z")
        assert nothing.status == 404
        assert nothing.json["success"] is False
        assert "EURUSD H1 has no bars before 2026-01-05T10:00:00+00:00" in nothing.json["error"]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/api/indicators/EURCHF/H1", "unknown symbol 'eurchf'; allowed: AUDJPY, "),
        ("/api/indicators/EURUSD/H3", "unknown timeframe 'h3'; allowed: M5, M15, "),
        ("/api/indicators/EURUSD/H1?limit=0", "limit: "),
        ("/api/indicators/EURUSD/H1?limit=5001", "limit: "),
        ("/api/indicators/EURUSD/H1?limit=1&limit=2", "limit: given more than once"),
        ("/api/indicators/EURUSD/H1?bars=raw", "bars: Input should be 'sampled' or 'resampled'"),
        ("/api/indicators/EURUSD/H1?count=3", "'count' is no parameter here; allowed: limit, before, bars"),
        ("/api/indicators/EURUSD/H1?before=0001-01-01T00:00:00%2B14:00", "before: "),
        ("/api/indicators/EURUSD/H1?before=never", "before: "),
        ("/api/symbols?tier=PRO", "'tier' is no parameter here; allowed: none"),
        ("/health?x=1", "'x' is no parameter here"),
        ("/api/indicators/%00/H1", "unknown symbol"),
    ],
)
def test_bad_requests_name_what_is_allowed(api_world: ApiWorld, path: str, says: str) -> None:
    with api_world.serving() as running:
        got = running.client().get(path)
        assert got.status == 400
        assert got.headers["content-type"] == "application/json"
        assert got.json["success"] is False
        assert says in got.json["error"]


def test_paths_and_methods_that_do_not_exist(api_world: ApiWorld) -> None:
    with api_world.serving() as running:
        missing = running.client().get("/api/nothing")
        assert (missing.status, missing.json["success"]) == (404, False)
        wrong = running.client().get("/api/symbols", method="DELETE")
        assert (wrong.status, wrong.json["success"], wrong.headers["allow"]) == (405, False, "GET")


@pytest.mark.only_on("embedded", "debian")
def test_confluence(api_world: ApiWorld) -> None:
    with api_world.serving() as running:
        client = running.client(PRO_KEY)
        one = client.get("/api/confluence/EURUSD?timestamp=2026-01-05T11:00:00Z").json
        assert (one["success"], one["symbol"], one["confluence_score"]) == (True, "EURUSD", 1.5)
        assert client.get("/api/confluence/eurusd").status == 200
        assert client.get("/api/confluence/eurusd?timestamp=2020-01-05T11:00:00Z").status == 404
        two = client.get("/api/confluence/eurusd/compare?timestamp1=2026-01-05T11:00Z&timestamp2=2026-01-05T12:00Z")
        assert two.json["first"]["timestamp"] < two.json["second"]["timestamp"]
        assert two.json["score_change"] == 0
        assert client.get("/api/confluence/eurusd/compare?timestamp1=2026-01-05T11:00Z").status == 400
        span = "from=2026-01-05T10:00Z&to=2026-01-05T12:00Z"
        history = client.get(f"/api/confluence/eurusd/history?{span}&step=h1").json["history"]
        assert [each["time"] for each in history] == [1767607200, 1767610800, 1767614400]
        long = client.get("/api/confluence/eurusd/history?from=2026-01-01&to=2026-02-01&step=M5")
        assert (long.status, "at most 2000" in long.json["error"]) == (400, True)
        assert client.get(f"/api/confluence/eurusd/history?{span}&step=M1").status == 400
        assert client.get("/api/confluence/eurusd/history?from=2026-01-05&to=2026-01-04").status == 400
        assert running.client().get("/api/confluence/eurusd").status == 403


def test_trades_and_accounts_are_for_admins(api_world: ApiWorld) -> None:
    assert len(ADMIN_PATHS) == len(ANSWERS)
    with api_world.serving() as running:
        for path, answer in ADMIN_PATHS.items():
            got = running.client(ADMIN_KEY).get(path)
            assert (got.status, got.json) == (200, {"success": True, "of": answer}), path
            assert got.headers["cache-control"] == "no-store"
            for key in (None, PRO_KEY):
                assert running.client(key).get(path).status == 403, path
        assert running.client(ADMIN_KEY).get("/api/indicators/eurusd/m5").status == 404  # may, but there is no bar
        assert running.client(PRO_KEY).get("/api/admin/cache/clear", method="POST").status == 403


def test_clearing_the_cache(api_world: ApiWorld) -> None:
    api_world.tick("eurusd_h1")
    with api_world.serving() as running:
        sources = [running.client().get("/api/indicators/eurusd/h1").headers["x-cache"] for _ in range(2)]
        assert running.client(ADMIN_KEY).get("/api/admin/cache/clear", method="POST").json == {"success": True}
        sources.append(running.client().get("/api/indicators/eurusd/h1").headers["x-cache"])
        assert sources == ["miss", "hit", "miss"]


@pytest.mark.only_on("embedded", "debian")
def test_health(api_world: ApiWorld) -> None:
    with api_world.serving() as running:
        client = running.client("no such key")  # health asks for none
        postgres = client.get("/api/health/postgresql").json
        assert (postgres["connected"], postgres["tables"], postgres["timescaledb_version"]) == (True, 135, None)
        assert 0 < postgres["latency_ms"] < 10_000
        assert postgres["version"] == api_world.query("show server_version")[0][0]
        assert client.get("/api/health/sqlite").json["lastUpdate"] == 1767607200000
        assert client.get("/api/indicators/health").json["tables_total"] == 135
        assert client.get("/api/health/sync").json["sources"][0]["verdict"] == "current"
        assert client.get("/api/health/redis").json["configured"] is False
        whole = client.get("/health")
        assert (whole.status, whole.json["status"]) == (200, "healthy")
        api_world.execute("update ops.source_health set verdict = 'dead'; drop table eurusd_m5")
        broken = client.get("/health")
        assert (broken.status, broken.json["sync"]["success"]) == (503, False)
        assert client.get("/api/health/postgresql").json["tables"] == 134
        assert "x-ratelimit-limit" not in broken.headers
        api_world.execute("update ops.source_health set verdict = 'current'")
        assert client.get("/health").status == 200
        api_world.execute(
            "create or replace function api.indicators_health() returns json language sql as"
            """ $$ select '{"success": true, "status": "degraded"}'::json $$"""
        )
        assert client.get("/health").status == 503
        assert client.get("/api/indicators/health").status == 200


def test_a_warehouse_without_the_functions(api_world: ApiWorld) -> None:
    api_world.tick("eurusd_h1")
    api_world.execute("drop schema api cascade")
    with api_world.serving() as running:
        got = running.client().get("/api/indicators/eurusd/h1")
        assert (got.status, got.json["success"]) == (503, False)
        assert "tradehouse sync" in got.json["error"]


def test_a_fault_of_ours_shows_no_internals(api_world: ApiWorld) -> None:
    api_world.tick("eurusd_h1")
    api_world.execute(
        "create or replace function api.indicators(symbol text, timeframe text, row_limit integer, before timestamptz,"
        " bars text, tier text) returns json language plpgsql as $$ begin raise 'secret detail'; end $$"
    )
    with api_world.serving() as running:
        got = running.client().get("/api/indicators/eurusd/h1")
        assert (got.status, got.json["success"]) == (500, False)
        assert b"secret" not in got.body


@pytest.mark.only_on("embedded", "debian")
def test_the_api_cannot_write(api_world: ApiWorld) -> None:
    api_world.tick("eurusd_h1")
    api_world.execute(
        "create or replace function api.indicators(symbol text, timeframe text, row_limit integer, before timestamptz,"
        " bars text, tier text) returns json language sql as $$ delete from public.eurusd_h1 returning '{}'::json $$"
    )
    with api_world.serving() as running:
        assert running.client().get("/api/indicators/eurusd/h1").status == 500
    assert api_world.query("select count(*) from eurusd_h1") == [(1,)]


@pytest.mark.only_on("embedded", "debian")
def test_a_login_that_lacks_a_right(api_world: ApiWorld) -> None:
    api_world.execute("do $$ begin create role api_nobody; exception when duplicate_object then null; end $$")
    separator = "&" if "?" in api_world.uri else "?"
    with api_world.serving(dsn=f"{api_world.uri}{separator}options=-c%20role%3Dapi_nobody") as running:
        got = running.client().get("/api/symbols")
        assert (got.status, got.json["success"]) == (503, False)
        assert "may not read" in got.json["error"]
        assert b"tiers" not in got.body
    api_world.execute("drop role api_nobody")


def test_the_version_follows_the_rules_of_the_project(api_world: ApiWorld) -> None:
    api_world.tick("eurusd_h1")
    clock = Clock()
    with api_world.serving(clock) as running:
        first = running.client().get("/api/indicators/eurusd/h1").headers["etag"]
        api_world.execute("insert into ops.sync_runs values (2, 'another')")
        api_world.announce(None)
        clock.ahead += 31
        assert running.client().get("/api/indicators/eurusd/h1").headers["etag"] != first


def test_resampled_bars_follow_the_table_of_candles(api_world: ApiWorld) -> None:
    api_world.tick("eurusd_h1")
    with api_world.serving() as running:
        client = running.client()
        tags = [client.get("/api/indicators/eurusd/h1?bars=RESAMPLED").headers["etag"] for _ in range(2)]
        assert tags[0] == tags[1] != client.get("/api/indicators/eurusd/h1").headers["etag"]
        api_world.execute("insert into ohlc values ('eurusd', 'H1', %s, 1, %s)", START, later(30))
        api_world.announce(["gbpusd_m5"], later(30))
        running.api.versions.forget(["ohlc"])  # the announcement may still be on its way
        assert client.get("/api/indicators/eurusd/h1?bars=resampled").headers["etag"] != tags[0]


def test_the_document_lists_every_endpoint(api_world: ApiWorld) -> None:
    with api_world.serving() as running:
        document = running.client().get("/openapi.json").json
    paths = document["paths"]
    assert set(ADMIN_PATHS) - {path for path in ADMIN_PATHS if "?" in path} <= set(paths)
    operation = paths["/api/indicators/{symbol}/{timeframe}"]["get"]
    assert {each["name"] for each in operation["parameters"]} == {"symbol", "timeframe", "limit", "before", "bars"}
    assert set(operation["responses"]) == {"200", "304", "400", "401", "403", "404", "429", "500", "503"}
    assert {"BearerKey", "HeaderKey"} <= set(document["components"]["securitySchemes"])


def test_the_command(api_world: ApiWorld, tmp_path: Path) -> None:
    api_world.tick("eurusd_h1")
    with api_world.command(tmp_path) as command:
        command.await_ready()
        client: Client = command.client(PRO_KEY)
        assert client.get("/api/indicators/eurusd/h1?limit=7").status == 200
        assert client.get(f"/api/symbols?key={PRO_KEY}").status == 400
        stream = client.listen()
        modules = Path(f"/proc/{command.process.pid}/maps").read_text()
        assert not re.search(r"duckdb", modules)
        assert command.end() == 0
        stream.close()
        assert re.search(r" INFO GET /api/indicators/eurusd/h1 200 [0-9.]+ ms\n", command.log)
        assert "Traceback" not in command.log
        for secret in (PRO_KEY, FREE_KEY, "limit=7"):
            assert secret not in command.log
        assert "warning" not in command.log


def test_the_command_warns_of_an_address_that_others_reach(api_world: ApiWorld, tmp_path: Path) -> None:
    with api_world.command(tmp_path, "--host", "0.0.0.0") as command:
        command.await_ready()
        assert "warning: 0.0.0.0 can be reached from other machines" in command.log


def test_the_command_on_a_port_that_is_taken(api_world: ApiWorld, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with api_world.command(tmp_path, "--port", str(port)) as command:
            assert command.process.wait(30) == 2
            assert command.log == f"error: port {port} of 127.0.0.1 is taken: end the program there, or give --port\n"


def test_the_command_without_a_warehouse(tmp_path: Path) -> None:
    with ApiWorld("postgresql://u:pass@127.0.0.1:1/nowhere").command(tmp_path) as command:
        command.await_ready()
        got = command.client().get("/api/indicators/eurusd/h1")
        assert (got.status, got.json["success"]) == (503, False)
        assert int(got.headers["retry-after"]) > 0
        assert command.client().get("/health").status == 503
        assert command.client().get("/api/health/postgresql").json["connected"] is False
        assert command.end() == 0
        assert "pass" not in command.log
        assert "Traceback" not in command.log


def test_settings_that_cannot_work(api_world: ApiWorld, tmp_path: Path) -> None:
    with api_world.command(tmp_path, REDIS_URL="http://h:secret@x", API_WITHOUT_KEY="open") as command:
        assert command.process.wait(30) == 2
        assert "REDIS_URL: Value error, expected redis://" in command.log
        assert "API_WITHOUT_KEY: " in command.log
        assert "secret" not in command.log


def test_keys_that_do_not_hold(api_world: ApiWorld) -> None:
    with api_world.serving() as running:
        for key in ("nonsense", EXPIRED_KEY, REVOKED_KEY, "x" * 5000):
            got = running.client(key).get("/api/symbols")
            assert (got.status, got.json["success"], got.headers["www-authenticate"]) == (401, False, "Bearer"), key
        assert running.client().get("/api/symbols", X_API_Key=PRO_KEY).json["tier"] == "PRO"
        assert running.client().get("/api/symbols", Authorization=f"bearer  {PRO_KEY} ").json["tier"] == "PRO"
        assert running.client(FREE_KEY).get("/api/symbols").json["tier"] == "FREE"


def test_a_head_that_does_not_end_is_refused(api_world: ApiWorld) -> None:
    with api_world.serving() as running, socket.create_connection(("127.0.0.1", running.port), 10) as connection:
        connection.sendall(b"GET /api/symbols HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 66_000)
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


def test_many_requests_of_one_connection_may_be_longer_than_one_head(api_world: ApiWorld) -> None:
    request = b"GET /api/symbols HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 30_000 + b"\r\n\r\n"
    with api_world.serving() as running, socket.create_connection(("127.0.0.1", running.port), 10) as connection:
        answers = connection.makefile("rb")
        for _ in range(5):
            connection.sendall(request)
            assert answers.readline().startswith(b"HTTP/1.1 200 ")
            headers = dict(line.lower().rstrip().split(b": ", 1) for line in iter(answers.readline, b"\r\n"))
            assert json.loads(answers.read(int(headers[b"content-length"])))["success"] is True
