"""The HTTP API under test: a small warehouse of tables and functions in their agreed shapes, and a running server.

The functions are stand-ins that answer from few rows, so that a database is made in a second. What the real ones
answer is tested where they are.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import psycopg2
import uvicorn
from psycopg2.extras import execute_values
from pydantic import SecretStr

from extract.settings import load_project
from serve.api.app import create_app
from serve.api.service import Api
from serve.api.settings import ApiSettings
from tests.support.servers import administer, free_port
from tests.support.services import await_that

ROOT = Path(__file__).resolve().parents[2]
DATABASE = "api_test"
TEMPLATE = "api_template"
PROJECT = load_project()
START = datetime(2026, 1, 5, 10, tzinfo=timezone.utc)
PRO_KEY, ADMIN_KEY, FREE_KEY = "th_pro_1", "th_admin_1", "th_free_1"
EXPIRED_KEY, REVOKED_KEY = "th_expired_1", "th_revoked_1"

STAND_INS = """
    create schema api; create schema ops; create schema signals;
    create table api.tiers (
        tier text, symbols text, timeframes text, columns text, confluence boolean, stream boolean,
        requests_per_hour integer, refresh_seconds integer
    );
    create table ops.api_keys (
        key_hash bytea primary key, name text, tier text, created_at timestamptz default now(), expires_at timestamptz,
        revoked_at timestamptz, last_used_at timestamptz
    );
    create table ops.sync_runs (run_id bigint primary key, project_fingerprint text);
    insert into ops.sync_runs values (1, 'abcdef0123456789');
    create table ops.source_health (
        source text, verdict text, last_ended_at timestamptz, last_success_at timestamptz, due_again_at timestamptz
    );
    insert into ops.source_health values ('mt5', 'current', now(), now(), now());
    create table public.ohlc (symbol text, timeframe text, timestamp timestamptz, close float, synced_at timestamptz);
    create index on public.ohlc (synced_at);
    create function ops.touch_api_key(key_hash bytea) returns void language sql
    as 'update ops.api_keys as k set last_used_at = date_trunc(''minute'', now()) where k.key_hash = $1';
    create function api.symbols(tier text) returns json language sql stable
    as $$ select json_build_object('success', true, 'tier', t.tier, 'symbols', string_to_array(t.symbols, ' '),
        'total_count', 5) from api.tiers as t where t.tier = $1 $$;
    create function api.timeframes(tier text) returns json language sql stable
    as $$ select json_build_object('success', true, 'tier', t.tier, 'timeframes', string_to_array(t.timeframes, ' '),
        'total_count', 3) from api.tiers as t where t.tier = $1 $$;
    create function api.indicators(
        symbol text, timeframe text, row_limit integer, before timestamptz, bars text, tier text
    ) returns json language plpgsql stable
    as $$
    declare answer json;
    begin
        execute format(
            'select json_build_object(''success'', true, ''data'', json_build_object(''ohlc'', json_agg(
                json_build_object(''time'', extract(epoch from timestamp)::bigint, ''open'', open, ''high'', high,
                ''low'', low, ''close'', close, ''volume'', null) order by timestamp),
                ''fractals'', null, ''horizontal_trendlines'', null, ''diagonal_trendlines'', null,
                ''momentum_candles'', null, ''keltner_channels'', null, ''zigzag'', null,
                ''tema'', json_agg(null::float), ''hrma'', json_agg(null::float), ''smma'', json_agg(null::float)),
            ''metadata'', json_build_object(''symbol'', upper(%L), ''timeframe'', %L, ''tier'', %L,
                ''bars_returned'', count(*), ''data_source'', ''postgresql'', ''last_sync'', max(synced_at),
                ''pro_indicators_enabled'', %L <> ''FREE''))
            from (select * from public.%I where timestamp < coalesce($1, ''infinity'') order by timestamp desc limit $2)
            as newest having count(*) > 0', symbol, timeframe, tier, tier, symbol || '_' || lower(timeframe))
        into answer using before, row_limit;
        return answer;
    end $$;
    create function signals.confluence(symbol text, at timestamptz) returns jsonb language sql stable
    as $$ select jsonb_build_object('symbol', upper(symbol), 'timestamp', to_json(at), 'confluence_score', 1.5,
        'max_score', 10, 'signals', '{"bullish": 0, "bearish": 0, "neutral": 9}'::jsonb, 'breakdown', '{}'::jsonb,
        'all_117_indicators', '{}'::jsonb) where at >= '2026-01-05 10:00+00' $$;
    create function signals.confluence_history(
        symbol text, from_time timestamptz, to_time timestamptz, step interval
    ) returns table (at timestamptz, confluence_score numeric, bullish integer, bearish integer, neutral integer)
    language sql stable
    as $$ select g, 1.5, 0, 0, 9 from generate_series(from_time, to_time, step) as g
        where g >= '2026-01-05 10:00+00' $$;
    create function api.overview(tier text) returns json language sql
    as $$ select json_build_object('success', true, 'tier', tier, 'time', 0, 'symbols', '[]'::json) $$;
    create function api.indicators_health() returns json language sql
    as $$ select json_build_object('success', true, 'status', 'healthy', 'tables_current', 135, 'tables_total', 135,
        'problems', '[]'::json) $$;
    create function api.sqlite_health() returns json language sql
    as $$ select json_build_object('success', true, 'lastUpdate', 1767607200000) $$;
"""
KEY_COLUMNS = "key_hash, name, tier, expires_at, revoked_at"
ANSWERS = (
    *("sync_status()", "table_stats()", "trades_summary()", "trades_equity_curve()", "trades_exit_reasons()"),
    *("trades_open_lots()", "accounts()", "trades_completed(row_limit integer, row_offset integer)"),
)


def _make_template(uri: str) -> None:
    with closing(psycopg2.connect(uri)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(STAND_INS)
        for answer in ANSWERS:
            name = answer.partition("(")[0]
            cursor.execute(
                f"create function api.{answer} returns json language sql"
                f" as $$ select json_build_object('success', true, 'of', '{name}') $$"
            )
        for table in PROJECT.candle_tables:
            cursor.execute(
                f"create table public.{table} (timestamp timestamptz primary key, open float, high float, low float,"
                f" close float, synced_at timestamptz); create index on public.{table} (synced_at)"
            )
        with (ROOT / "dbt_project" / "seeds" / "tiers.csv").open(newline="", encoding="utf-8") as file:
            execute_values(cursor, "insert into api.tiers values %s", list(csv.reader(file))[1:])
        keys = [
            (hashlib.sha256(key.encode()).digest(), key, tier, expires, revoked)
            for key, tier, expires, revoked in (
                (PRO_KEY, "PRO", None, None),
                (ADMIN_KEY, "ADMIN", "infinity", None),
                (FREE_KEY, "FREE", None, None),
                (EXPIRED_KEY, "PRO", "2020-01-01", None),
                (REVOKED_KEY, "PRO", None, "2020-01-01"),
            )
        ]
        execute_values(cursor, f"insert into ops.api_keys ({KEY_COLUMNS}) values %s", keys)
    connection.close()


@dataclass
class Clock:
    """Monotonic seconds that a test moves on by hand, on top of the real ones."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@dataclass(frozen=True)
class Got:
    """An answer as it came over the wire."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Sends requests to one server, each on a connection of its own.

    Args:
        port: on loopback.
        key: sent as a bearer token, if given.
    """

    port: int
    key: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, method: str = "GET", **headers: str) -> Got:
        """An answer; `If_None_Match="…"` becomes a header."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            answer = self._request(connection, path, method, headers)
            return Got(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())

    def _request(self, connection: HTTPConnection, path: str, method: str, headers: Mapping[str, str]) -> HTTPResponse:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        key = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        connection.request(method, path, headers=key | self.headers | given)
        return connection.getresponse()

    def listen(self, path: str = "/api/stream", **headers: str) -> Listening:
        """Open a stream."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        return Listening(connection, self._request(connection, path, "GET", headers))


@dataclass
class Listening:
    """An open stream."""

    connection: HTTPConnection
    answer: HTTPResponse

    def event(self) -> dict[str, str]:
        """The next event, field by field; comments are passed over."""
        fields: dict[str, str] = {}
        while True:
            line = self.answer.readline()
            if not line:
                raise EOFError("the stream has ended")
            text = line.decode().rstrip("\n")
            if not text and "data" in fields:
                return fields
            name, _, value = text.partition(": ")
            if name:
                fields[name] = value

    def close(self) -> None:
        self.answer.close()
        self.connection.close()


@dataclass
class Running:
    """A server in a thread of this process, whose parts a test can look at."""

    api: Api
    port: int
    clock: Clock

    def client(self, key: str | None = None) -> Client:
        return Client(self.port, key)


@dataclass
class ApiWorld:
    """A warehouse for the API."""

    uri: str

    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self.uri)) as connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            return list(cursor.fetchall())

    def execute(self, sql: str, *parameters: Any) -> None:
        with closing(psycopg2.connect(self.uri)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)

    def tick(
        self, *tables: str, close: float = 1.0, synced_at: datetime = START, announced: bool = True, run_id: int = 2
    ) -> None:
        """Write a bar to each table, as a tick would, and announce it."""
        statements = "".join(
            f"insert into public.{table} values ('{START.isoformat()}', 1, 2, 0.5, {close}, '{synced_at.isoformat()}')"
            " on conflict (timestamp) do update set close = excluded.close, synced_at = excluded.synced_at;"
            for table in tables
        )
        self.execute(statements)
        if announced:
            self.announce(tables, synced_at, run_id)

    def announce(self, models: Sequence[str] | None, synced_at: datetime = START, run_id: int = 2) -> None:
        """What the pipeline sends as it commits."""
        payload = {
            "run_id": run_id,
            "source": "mt5",
            "extracted_at": synced_at.isoformat(timespec="microseconds"),
            "models": None if models is None else [*models, "ohlc"],
        }
        self.execute("select pg_notify('tradehouse_changes', %s)", json.dumps(payload))

    def calls(self, function: str) -> int:
        """How often a function was called by sessions that have ended."""
        calls = "select coalesce(sum(calls), 0)::int from pg_stat_user_functions where funcname = %s"
        return int(self.query(calls, function)[0][0])

    def slow_down(self, seconds: float) -> None:
        """Let api.indicators take so long."""
        self.execute(
            "alter function api.indicators rename to quick_indicators;"
            "create function api.indicators(symbol text, timeframe text, row_limit integer, before timestamptz,"
            " bars text, tier text) returns json language plpgsql stable as $$ begin"
            f" perform pg_sleep({seconds}); return api.quick_indicators($1, $2, $3, $4, $5, $6); end $$"
        )

    @contextmanager
    def serving(self, clock: Clock | None = None, dsn: str | None = None, **settings: Any) -> Iterator[Running]:
        """A server with these settings, ready and listening to announcements."""
        clock = clock or Clock()
        if "redis_url" in settings:
            settings["redis_url"] = SecretStr(settings["redis_url"])
        app = create_app(ApiSettings(**settings), dsn or self.uri, clock=clock)
        config = uvicorn.Config(app, log_config=None, ws="none", http="h11", lifespan="on", timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
            thread.start()
            await_that(lambda: server.started, "started server", 20)
            api: Api = app.state.api
            if dsn is None:
                await_that(api.listener.listening.is_set, "listening connection", 20)
            try:
                yield Running(api, listening.getsockname()[1], clock)
            finally:
                api.hub.close()
                server.should_exit = True
                thread.join(20)
        assert not thread.is_alive()

    @contextmanager
    def command(self, directory: Path, *arguments: str, **settings: str) -> Iterator[Command]:
        """`tradehouse serve` as a process, killed at the end if it still runs."""
        log = directory / "serve.log"
        port = free_port()
        environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "TZ": "Asia/Tokyo"}
        environment |= {"POSTGRESQL_URI": self.uri, **settings}
        program = [str(Path(sys.executable).parent / "tradehouse"), "serve", "--port", str(port), *arguments]
        with log.open("wb") as file:
            process = subprocess.Popen(program, env=environment, cwd=directory, stdout=file, stderr=file)
        try:
            yield Command(process, port, log)
        finally:
            process.kill()
            process.wait()


@dataclass
class Command:
    """A running `tradehouse serve`."""

    process: subprocess.Popen[bytes]
    port: int
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def await_ready(self, seconds: float = 30) -> None:
        """Wait until it accepts connections."""

        def accepts() -> bool:
            assert self.process.poll() is None, self.log
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        await_that(lambda: accepts() and "listening on" in self.log, "accepting server", seconds)

    def client(self, key: str | None = None) -> Client:
        return Client(self.port, key)

    def end(self) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


def api_world_on(server_uri: str, templates: set[str]) -> ApiWorld:
    """A fresh warehouse on a server; `server_uri` has {database} to fill in."""
    if TEMPLATE not in templates:
        administer(server_uri, [f"create database {TEMPLATE} template template0 encoding 'UTF8'"])
        _make_template(server_uri.format(database=TEMPLATE))
        templates.add(TEMPLATE)
    administer(
        server_uri,
        [
            f"drop database if exists {DATABASE} with (force)",
            f"create database {DATABASE} template {TEMPLATE}",
            f"alter database {DATABASE} set track_functions = 'all'",
        ],
    )
    return ApiWorld(server_uri.format(database=DATABASE))


def later(seconds: float) -> datetime:
    """A moment so long after the first bar."""
    return START + timedelta(seconds=seconds)
