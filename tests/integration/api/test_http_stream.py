"""The stream of changes."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from tests.support.api_stand_ins import ADMIN_KEY, FREE_KEY, PRO_KEY
from tests.support.api_world import ApiWorld, Clock, Listening, Running, later
from tests.support.services import await_that

pytestmark = pytest.mark.only_on("embedded")


def content(stream: Listening) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stream.event()["data"])
    return found


def await_streams(running: Running, count: int) -> None:
    await_that(lambda: len(running.api.hub) == count, f"{count} open streams", 15)


def test_one_event_per_tick_with_the_tables_asked_for(api_world: ApiWorld) -> None:
    with api_world.serving() as running:
        stream = running.client(PRO_KEY).listen("/api/stream?symbols=EURUSD.i,gbpjpy&timeframes=m5,H1")
        assert stream.answer.status == 200
        assert stream.answer.getheader("Content-Type") == "text/event-stream; charset=utf-8"
        api_world.tick("usdjpy_m5")  # not asked for
        api_world.tick("eurusd_m5", "eurusd_m15", "gbpjpy_h1", synced_at=later(30), run_id=7)
        event = stream.event()
        assert (event["event"], event["id"]) == ("changes", "2026-01-05T10:00:30.000000+00:00")
        assert json.loads(event["data"]) == {
            "run_id": 7,
            "source": "mt5",
            "extracted_at": "2026-01-05T10:00:30.000000+00:00",
            "tables": [{"symbol": "EURUSD", "timeframe": "M5"}, {"symbol": "GBPJPY", "timeframe": "H1"}],
        }
        api_world.announce(None, later(60))  # too many to list: any may have changed
        assert len(content(stream)["tables"]) == 4
        stream.close()
        await_streams(running, 0)


def test_resuming_tells_what_was_missed(api_world: ApiWorld) -> None:
    with api_world.serving() as running:
        client = running.client(PRO_KEY)
        stream = client.listen()
        api_world.tick("eurusd_m5", "gbpjpy_h1")
        last = stream.event()["id"]
        stream.close()
        api_world.tick("eurusd_m5", synced_at=later(30))
        api_world.tick("usdjpy_d1", synced_at=later(60))
        again = client.listen(Last_Event_ID=last)
        missed = again.event()
        assert [(each["symbol"], each["timeframe"]) for each in json.loads(missed["data"])["tables"]] == [
            ("EURUSD", "M5"),
            ("USDJPY", "D1"),
        ]
        assert missed["id"] == "2026-01-05T10:01:00.000000+00:00"
        up_to_date = client.listen(Last_Event_ID=missed["id"])
        api_world.tick("xauusd_h4", synced_at=later(90))
        assert content(up_to_date)["tables"] == [{"symbol": "XAUUSD", "timeframe": "H4"}]
        for wrong in ("12", "yesterday", "2026-01-05T10:00:00"):
            assert client.get("/api/stream", Last_Event_ID=wrong).status == 400


def test_after_a_lost_connection_to_the_warehouse_everything_may_have_changed(api_world: ApiWorld) -> None:
    with api_world.serving() as running:
        stream = running.client(PRO_KEY).listen("/api/stream?symbols=eurusd&timeframes=m5")
        api_world.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'tradehouse api listener'"
        )
        event = stream.event()
        assert "id" not in event
        assert json.loads(event["data"])["tables"] == [{"symbol": "EURUSD", "timeframe": "M5"}]


def test_who_may_listen(api_world: ApiWorld) -> None:
    with api_world.serving() as running:
        for key in (None, FREE_KEY):
            refused = running.client(key).get("/api/stream")
            assert (refused.status, refused.json["upgrade_required"]) == (403, True)
        assert running.client(PRO_KEY).get("/api/stream?symbols=eurusd,nope").status == 400
        assert running.client(PRO_KEY).get("/api/stream?symbols=eurusd&symbols=usdjpy").status == 400
        assert running.client(PRO_KEY).get("/api/stream?timeframes=H3").status == 400


def test_a_revoked_key_ends_its_stream(api_world: ApiWorld) -> None:
    clock = Clock()
    with api_world.serving(clock) as running:
        stream = running.client(PRO_KEY).listen()
        await_streams(running, 1)
        api_world.execute("update ops.api_keys set revoked_at = now() where name = %s", PRO_KEY)
        clock.ahead += 2.5
        with pytest.raises(EOFError):
            stream.event()
        await_streams(running, 0)


def test_the_number_of_streams_is_limited(api_world: ApiWorld) -> None:
    with api_world.serving(api_streams=3, api_streams_per_caller=2) as running:
        streams = [running.client(PRO_KEY).listen() for _ in range(2)]
        refused = running.client(PRO_KEY).get("/api/stream")
        assert (refused.status, int(refused.headers["retry-after"]) > 0) == (429, True)
        streams.append(running.client(ADMIN_KEY).listen())
        assert running.client(ADMIN_KEY).get("/api/stream").status == 503
        streams.pop(0).close()
        await_streams(running, 2)
        assert running.client(PRO_KEY).listen().answer.status == 200


def test_a_slow_client_is_cut_off_and_the_others_go_on(api_world: ApiWorld) -> None:
    with api_world.serving() as running:
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", running.port))
        slow.sendall(f"GET /api/stream HTTP/1.1\r\nHost: x\r\nX-API-Key: {PRO_KEY}\r\n\r\n".encode())
        await_streams(running, 1)
        quick = running.client(ADMIN_KEY).listen()
        await_streams(running, 2)
        sent = 0
        while running.api.hub.cut == 0:
            sent += 1
            assert sent < 2000, "the slow client was never cut off"
            api_world.announce(None, later(sent))  # some 6 KB each
            assert len(content(quick)["tables"]) == 135
        await_streams(running, 1)
        slow.close()


def test_heartbeats(api_world: ApiWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.api.stream.HEARTBEAT_SECONDS", 0.2)
    with api_world.serving() as running:
        stream = running.client(PRO_KEY).listen()
        lines = [stream.answer.readline() for _ in range(6)]
        assert lines.count(b": still here\n") == 2
