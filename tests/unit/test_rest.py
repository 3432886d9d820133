"""The bounds of a request hold against a server that means harm: time, size, memory and waiting."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from pydantic import SecretStr

from extract.errors import SettingsError
from extract.rest import Bounds, HttpClient, Pace, Reply, ServiceError, UnavailableError
from tests.support.fake_mt5 import FakeMt5

MIB = 1 << 20


@pytest.fixture(scope="module")
def running() -> Iterator[FakeMt5]:
    with FakeMt5() as fake:
        yield fake


@pytest.fixture
def fake(running: FakeMt5) -> FakeMt5:
    running.treat()
    running.requests()
    return running


def client(fake: FakeMt5, **bounds: float) -> HttpClient:
    return HttpClient(fake.url, Pace(0), bounds=Bounds(**bounds), sleep=lambda _: None)  # type: ignore[arg-type]


def within(seconds: float, http: HttpClient, deadline: float) -> Reply | Exception:
    """The outcome of a request in a thread of its own, which a hanging one would never end."""
    outcome: list[Reply | Exception] = []

    def ask() -> None:
        try:
            outcome.append(http.get("/health", deadline=deadline))
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), f"the request still hangs after {seconds} s"
    return outcome[0]


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_reply_that_dribbles_ends_at_its_limit(fake: FakeMt5, part: str) -> None:
    fake.treat(dribble=part)
    for bounds, deadline, words in (
        ({"reply": 0.6}, 60.0, "gives no whole reply within 0.6 s"),
        ({"reply": 60.0}, 0.5, "gives no whole reply within 0."),
    ):
        began = time.monotonic()
        outcome = within(3, client(fake, silence=30.0, **bounds), began + deadline)
        assert isinstance(outcome, UnavailableError)
        assert words in str(outcome)
        assert 0.4 < time.monotonic() - began < 1.5


def test_a_connection_that_is_kept_has_each_requests_own_limit(fake: FakeMt5) -> None:
    fake.treat(body="{}")
    http = client(fake, reply=0.5)
    assert http.get("/health").status == 200
    time.sleep(0.6)
    assert http.get("/health").status == 200


def test_proxies_of_the_environment_have_the_limit_too(fake: FakeMt5, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", fake.url)
    fake.treat(dribble="headers")
    http = HttpClient("http://service.invalid", Pace(0), bounds=Bounds(reply=0.5))
    outcome = within(3, http, time.monotonic() + 60)
    assert "gives no whole reply within 0.5 s" in str(outcome)
    assert fake.requests() == ["http://service.invalid/health"]


@pytest.mark.parametrize("encodings", [["gzip", "gzip"], ["br"], ["deflate"]])
def test_encodings_nobody_asked_for_are_an_error(fake: FakeMt5, encodings: list[str]) -> None:
    fake.treat(blanks=64 * MIB, encodings=encodings)
    tracemalloc.start()
    try:
        with pytest.raises(ServiceError, match=f"Content-Encoding {', '.join(encodings)}; tradehouse asked for gzip"):
            client(fake).get("/health")
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


def test_what_is_compressed_takes_no_more_memory_than_the_limit(fake: FakeMt5) -> None:
    fake.treat(blanks=256 * MIB, encodings=["gzip"])
    http = client(fake, size=MIB)
    tracemalloc.start()
    try:
        with pytest.raises(ServiceError, match="answers with more than 1,048,576 bytes"):
            http.get("/health")
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


def test_gzip_is_read_to_its_limit_and_not_beyond_its_end(fake: FakeMt5) -> None:
    fake.treat(blanks=MIB, encodings=["gzip"])
    assert client(fake, size=MIB).get("/health").body == b" " * MIB
    fake.treat(body="no gzip at all", status=200, headers={"Content-Encoding": "gzip"})
    with pytest.raises(UnavailableError, match="damaged gzip"):
        client(fake).get("/health")


@pytest.mark.parametrize("as_date", [False, True])
def test_a_wait_beyond_the_deadline_is_not_begun(fake: FakeMt5, as_date: bool) -> None:
    later = datetime.now(timezone.utc) + timedelta(seconds=600)
    asked = format_datetime(later, usegmt=True) if as_date else "600"
    fake.treat(status=429, headers={"Retry-After": asked})
    slept: list[float] = []
    http = HttpClient(fake.url, Pace(0), sleep=slept.append)
    deadline = time.monotonic() + 300
    with pytest.raises(UnavailableError, match=r"HTTP 429 and asks to wait (600|599) s, with 300 s left for all of it"):
        http.retrying(lambda: http.get("/health", deadline=deadline), deadline)
    assert (slept, len(fake.requests())) == ([], 1)


def test_a_wait_within_the_deadline_is_kept(fake: FakeMt5) -> None:
    fake.treat(times=1, status=429, headers={"Retry-After": "7"})
    slept: list[float] = []
    http = HttpClient(fake.url, Pace(0), sleep=slept.append)
    deadline = time.monotonic() + 300
    assert http.retrying(lambda: http.get("/health", deadline=deadline), deadline).status < 429
    assert (slept, len(fake.requests())) == ([7.0], 2)


def test_a_host_without_an_address_is_said_in_one_line() -> None:
    http = HttpClient("http://service.invalid", Pace(0))
    with pytest.raises(UnavailableError, match=r"^http://service.invalid does not answer: .*[Nn]ame"):
        http.get("/health")


def test_an_address_here_is_not_asked_through_a_proxy(fake: FakeMt5, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.treat(body="{}")
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for address in (fake.url, fake.url.replace("127.0.0.1", "localhost")):
        assert HttpClient(address, Pace(0)).get("/health").status == 200
    assert fake.requests() == ["/health", "/health"]


def test_a_proxy_sees_nothing_of_what_goes_over_https(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def listen() -> None:
            connection, _ = proxy.accept()
            with connection:
                seen.append(connection.recv(65_536))
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                seen.append(connection.recv(65_536))

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        with pytest.raises(UnavailableError):
            HttpClient("https://service.invalid", Pace(0)).get("/secret", lambda _: {"X-API-Key": "kEyOfNobody"})
        thread.join(5)
    assert seen[0].startswith(b"CONNECT service.invalid:443")
    assert not any(words in each for each in seen for words in (b"kEyOfNobody", b"/secret"))


def test_a_private_authority_is_trusted_and_no_other(tmp_path: Path) -> None:
    """A certificate for 127.0.0.1 that signs itself: with it as the authority the connection stands, without it not."""
    certificate, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    made = [
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"),
        *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
    ]
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)  # which knows no GET: 501
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"https://127.0.0.1:{server.server_address[1]}"
    with pytest.raises(UnavailableError, match="HTTP 501"):
        HttpClient(address, Pace(0), ca_file=certificate).get("/health")
    with pytest.raises(UnavailableError, match="certificate verify failed"):
        HttpClient(address, Pace(0)).get("/health")
    server.shutdown()
    server.server_close()
    with pytest.raises(SettingsError, match=r"key.pem cannot be used as certificates of an authority"):
        HttpClient(address, Pace(0), ca_file=key)


def test_a_pace_holds_for_all_threads() -> None:
    now = [0.0]
    slept: list[float] = []
    pace = Pace(2.0, lambda: now[0], slept.append)
    for _ in range(3):
        pace.wait()
    assert slept == [2.0, 4.0]
    pace.wait(deadline=5.0)
    assert slept == [2.0, 4.0], "a turn after the deadline is not waited for"
    now[0] = 5.0
    pace.wait()
    assert slept[2:] == [1.0]


def test_short_secrets_mask_no_words() -> None:
    http = HttpClient("http://127.0.0.1:1", Pace(0), secrets=[SecretStr("abc"), SecretStr("abcd")])
    assert http.masked("abc and abcd") == "abc and ***"
