"""Pages without a browser: what a signed cookie opens, where signing in leads, and the headers."""

from __future__ import annotations

import hashlib
from http.client import HTTPConnection
from urllib.parse import urlencode

import pytest

from serve.api.pages.sessions import SESSION_SECONDS, Sessions
from tests.support.api_stand_ins import ADMIN_KEY, EXPIRED_KEY, PRO_KEY, REVOKED_KEY
from tests.support.api_world import ApiWorld, Clock, Got

pytestmark = pytest.mark.only_on("embedded")

SECRET = "0123456789abcdef0123456789abcdef"


def post(port: int, path: str, headers: dict[str, str] | None = None, **form: str) -> Got:
    """Send a form."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    sent = {"Content-Type": "application/x-www-form-urlencoded"} | (headers or {})
    connection.request("POST", path, urlencode(form), sent)
    answer = connection.getresponse()
    got = Got(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    connection.close()
    return got


def cookie_of(got: Got) -> str:
    return got.headers["set-cookie"].partition(";")[0]


def test_a_cookie_opens_what_its_key_opens(api_world: ApiWorld) -> None:
    clock = Clock()
    with api_world.serving(clock) as running:
        signed = post(running.port, "/login", key=PRO_KEY, next="/chart/eurusd/h1")
        assert (signed.status, signed.headers["location"]) == (303, "/chart/eurusd/h1")
        attributes = signed.headers["set-cookie"].lower()
        assert "httponly" in attributes
        assert "samesite=lax" in attributes
        assert PRO_KEY not in attributes
        client, cookie = running.client(), cookie_of(signed)
        assert client.get("/api/symbols", Cookie=cookie).json["tier"] == "PRO"
        assert client.get("/api/symbols").json["tier"] == "FREE"
        assert client.get("/api/symbols", Cookie=f"{cookie}0").json["tier"] == "FREE"
        api_world.execute("update ops.api_keys set revoked_at = now() where name = %s", PRO_KEY)
        clock.ahead += 5
        assert client.get("/api/symbols", Cookie=cookie).status == 401
        sent = client.get("/", Cookie=cookie)
        assert (sent.status, sent.headers["location"]) == (303, "/login?next=/")
        assert 'tradehouse_session=""' in sent.headers["set-cookie"]


def test_a_cookie_changes_nothing(api_world: ApiWorld) -> None:
    with api_world.serving() as running:
        cookie = cookie_of(post(running.port, "/login", key=ADMIN_KEY))
        assert running.client().get("/api/accounts", Cookie=cookie).status == 200
        assert running.client().get("/api/admin/cache/clear", "POST", Cookie=cookie).status == 403
        assert running.client(ADMIN_KEY).get("/api/admin/cache/clear", "POST").status == 200


@pytest.mark.parametrize("key", ["", "nope", EXPIRED_KEY, REVOKED_KEY, "x" * 300, "x" * 5000])
def test_a_key_that_does_not_hold_signs_nobody_in(api_world: ApiWorld, key: str) -> None:
    with api_world.serving() as running:
        got = post(running.port, "/login", key=key)
        assert got.status in (400, 401)
        assert "set-cookie" not in got.headers
        assert b'role="alert"></p>' not in got.body


def test_signing_in_leads_to_our_own_pages_only(api_world: ApiWorld) -> None:
    with api_world.serving() as running:
        for path in ("https://example.org/", "//example.org/", "/\\example.org", "chart", "/a\r\nX-Y: z"):
            assert post(running.port, "/login", key=PRO_KEY, next=path).headers["location"] == "/"
        assert b"<script>" not in running.client().get('/login?next=/"><script>').body
        other = post(running.port, "/login", {"Sec-Fetch-Site": "cross-site"}, key=PRO_KEY)
        assert (other.status, "set-cookie" in other.headers) == (403, False)


def test_sessions_need_the_secret_and_end() -> None:
    seconds = [1000.0]
    digest = hashlib.sha256(b"key").digest()
    sessions = Sessions(SECRET, lambda: seconds[0])
    cookie = sessions.issue(digest)
    assert Sessions(SECRET, lambda: 1000.0).read(cookie) == digest
    assert Sessions(SECRET[::-1], lambda: 1000.0).read(cookie) is None
    assert Sessions(None).read(Sessions(None).issue(digest)) is None
    for broken in (
        None,
        "",
        ".",
        "..",
        "a.b.c",
        cookie[:-1],
        cookie.upper(),
        "é" + cookie,
        cookie.replace(".", "0.", 1),
    ):
        assert sessions.read(broken) is None
    seconds[0] += SESSION_SECONDS
    assert sessions.read(cookie) is None


def test_pages_are_closed_where_a_key_is_needed(api_world: ApiWorld) -> None:
    with api_world.serving(api_without_key="closed", api_cookie_secret=SECRET) as running:
        for path in ("/", "/chart", "/chart/eurusd/h1"):
            got = running.client().get(path)
            assert (got.status, got.headers["location"]) == (303, f"/login?next={path}")
        assert running.client().get("/login").status == 200
        cookie = cookie_of(post(running.port, "/login", key=PRO_KEY))
        assert running.client().get("/chart", Cookie=cookie).headers["location"] == "/chart/AUDJPY/H1"


def test_headers_and_static_files(api_world: ApiWorld) -> None:
    with api_world.serving() as running:
        client = running.client()
        page = client.get("/")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self' 'sha256-" in policy
        assert "unsafe" not in policy
        assert page.headers["cache-control"] == "no-store"
        script = client.get("/static/lightweight-charts.js", Accept_Encoding="gzip")
        assert (script.status, script.headers["content-encoding"]) == (200, "gzip")
        assert client.get("/static/lightweight-charts.js", If_None_Match=script.headers["etag"]).status == 304
        assert b"Licensed under Apache License 2.0" in client.get("/static/lightweight-charts.js").body
        for missing in ("/static/nothing.js", "/static/..%2froutes.py", "/static/%2e%2e/files.py"):
            assert client.get(missing).status == 404
