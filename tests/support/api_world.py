"""The HTTP API under test: a small warehouse and a running server."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
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
from pydantic import SecretStr

from serve.api.app import create_app
from serve.api.http import Http
from serve.api.service import Api
from serve.api.settings import ApiSettings
from tests.support.api_stand_ins import make_template
from tests.support.servers import administer, free_port
from tests.support.services import await_that
from tests.support.world import TRADEHOUSE, clean_environment

DATABASE = "api_test"
TEMPLATE = "api_template"
START = datetime(2026, 1, 5, 10, tzinfo=timezone.utc)


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
        config = uvicorn.Config(app, log_config=None, ws="none", http=Http, lifespan="on", timeout_graceful_shutdown=2)
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
        environment = clean_environment(directory, {"POSTGRESQL_URI": self.uri, **settings})
        with log.open("wb") as file:
            process = subprocess.Popen(
                [TRADEHOUSE, "serve", "--port", str(port), *arguments],
                env=environment,
                cwd=directory,
                stdout=file,
                stderr=file,
            )
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
        make_template(server_uri.format(database=TEMPLATE))
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
