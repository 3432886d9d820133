"""TLS with a certificate authority of one's own: Postgres for all that connects to it, and the MT5 service."""

from __future__ import annotations

import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.collector import Collector, series
from tests.support.servers import DEBIAN_BINARIES, administer, debian_postgres, free_port
from tests.support.services import await_that
from tests.support.world import World, run_tradehouse

MONDAY = 1_736_121_600  # 2025-01-06 00:00 UTC


def openssl(words: str, directory: Path) -> None:
    subprocess.run(["openssl", *words.split()], cwd=directory, check=True, capture_output=True)


def authority(directory: Path, name: str) -> Path:
    """Make an authority, and with it `server.crt` and `server.key` for the name localhost; return its certificate."""
    (directory / "names").write_text("subjectAltName=DNS:localhost\n")
    openssl(f"req -x509 -days 2 -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.crt", directory)
    openssl("req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr", directory)
    openssl(
        f"x509 -req -days 2 -in server.csr -CA {name}.crt -CAkey {name}.key -CAcreateserial -extfile names"
        " -out server.crt",
        directory,
    )
    return directory / f"{name}.crt"


def test_a_warehouse_whose_certificate_a_private_authority_signed(tmp_path: Path) -> None:
    if not DEBIAN_BINARIES.exists():
        pytest.skip("Debian's PostgreSQL 15 is not installed")
    stranger = authority(tmp_path, "stranger")
    ours = authority(tmp_path, "ours")
    with debian_postgres(tmp_path / "postgres") as uri, Collector(tmp_path / "trading_data.db") as collector:
        for name in ("server.crt", "server.key"):
            (tmp_path / "postgres" / "data" / name).write_text((tmp_path / name).read_text())
        administer(uri, ["select pg_reload_conf()", "create database mine"])
        collector.create()
        collector.write("EURUSD", series(MONDAY, 13))
        plain = uri.format(database="mine").replace("sslmode=require", "sslmode=verify-full")

        def world_of(host: str, *, root: Path | None) -> World:
            address = plain.replace("@127.0.0.1:", f"@{host}:") + (f"&sslrootcert={root}" if root else "")
            return World(tmp_path, tmp_path / "home", address, collector)

        for world, fault in (
            (world_of("localhost", root=None), "root certificate file"),
            (world_of("localhost", root=stranger), "certificate verify failed"),
            (world_of("127.0.0.1", root=ours), "does not match host name"),
        ):
            refused = world.run("sync")
            assert refused.returncode == 2, refused.stdout
            [line] = refused.stderr.splitlines()
            assert line.startswith("error: cannot connect to Postgres: ")
            assert fault in line

        world = world_of("localhost", root=ours)
        world.sync("--test")  # psycopg2, DuckDB and dbt
        world.check()
        assert world.run("query", "select count(*) from wh.public.eurusd_h1").returncode == 0
        in_the_clear = "select count(*) from pg_stat_ssl as s join pg_stat_activity using (pid)"
        assert world.query(f"{in_the_clear} where client_addr is not null and not s.ssl") == [(0,)]
        port = free_port()
        server = world.start("serve", "--port", str(port))  # psycopg
        try:
            await_that(lambda: answers(f"http://127.0.0.1:{port}/api/health/postgresql"), "answer of the API")
        finally:
            server.kill()
            server.communicate()


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


class Service(BaseHTTPRequestHandler):
    """An account service that knows no account; it answers whoever gets through TLS."""

    def do_GET(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[str]:
    """The address of a service behind TLS whose certificate the authority `ours` signed."""
    authority(tmp_path, "ours")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_account_service_whose_certificate_a_private_authority_signed(service: str, tmp_path: Path) -> None:
    def told(**settings: str) -> str:
        environment = {
            "MT5_SERVICE_URL": service,
            "MT5_SERVICE_API_KEY": "key",
            "POSTGRESQL_URI": "embedded",
            **settings,
        }
        done = run_tradehouse("accounts", "test", environment=environment, cwd=tmp_path)
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    ours = str(tmp_path / "ours.crt")
    assert "CERTIFICATE_VERIFY_FAILED" in told()
    trusted = told(MT5_SERVICE_CA_FILE=ours)
    assert "CERTIFICATE_VERIFY_FAILED" not in trusted
    assert "404" in trusted
    by_number = service.replace("localhost", "127.0.0.1")
    assert "CERTIFICATE_VERIFY_FAILED" in told(MT5_SERVICE_URL=by_number, MT5_SERVICE_CA_FILE=ours)
