"""The account service's client: attempts, times and sizes, against the real HTTP server of the fake."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import datetime, timezone

import pytest
from pydantic import SecretStr

from extract.rest import Bounds, HttpClient, Pace, ServiceError
from extract.sources.accounts.client import MOST_PAGES, AccountClient
from extract.sources.accounts.items import HistoryPart
from extract.sources.accounts.source import BOUNDS
from tests.support.fake_mt5 import KEY, FakeMt5, info, position, trade

ALL = HistoryPart(datetime(2020, 1, 1, tzinfo=timezone.utc), datetime(2099, 1, 1, tzinfo=timezone.utc))


@pytest.fixture(scope="module")
def running() -> Iterator[FakeMt5]:
    with FakeMt5() as fake:
        yield fake


@pytest.fixture
def fake(running: FakeMt5) -> FakeMt5:
    """The service, well again, with one account."""
    running.account("1", info(), [position(1)], [trade(2)])
    running.treat()
    running.requests()
    return running


def client(fake: FakeMt5, bounds: Bounds = BOUNDS, key: str = KEY) -> AccountClient:
    secret = SecretStr(key)
    http = HttpClient(fake.url, Pace(0), secrets=[secret], bounds=bounds, sleep=lambda _: None)
    return AccountClient(http, secret)


def test_one_retry_after_what_may_pass(fake: FakeMt5) -> None:
    for fault in ({"status": 500}, {"status": 429}, {"hang_up": True}, {"cut": True}, {"body": "?"}):
        fake.treat(times=1, **fault)
        assert client(fake).info("1").error is None, fault
        assert len(fake.requests()) == 2
        fake.treat(times=2, **fault)
        assert "(tried 2 times)" in str(client(fake).info("1").error), fault
        assert len(fake.requests()) == 2


def test_no_retry_after_what_stays(fake: FakeMt5) -> None:
    for fault in (
        {"status": 401},
        {"status": 404},
        {"status": 302},
        {"body": '{"success": false}'},
        {"flood": 1 << 24},
    ):
        fake.treat(**fault)
        assert client(fake).info("1").error is not None
        assert len(fake.requests()) == 1, fault


def test_a_reply_has_its_time(fake: FakeMt5) -> None:
    fake.treat(delay=5)
    began = time.monotonic()
    listing = client(fake, Bounds(silence=0.2, reply=0.2, attempts=2)).positions("1")
    assert "gives no whole reply within 0.2 s (tried 2 times)" in str(listing.error)
    assert time.monotonic() - began < 3  # not 5, let alone 10
    fake.requests()
    deadline = time.monotonic() + 0.3  # a second attempt would begin behind it
    error = str(client(fake).positions("1", deadline).error)
    # what is left of the 0.3 s when the attempt begins
    found = re.search(r"no whole reply within (0\.\d+) s \(tried 1 time\)", error)
    assert found, error
    assert float(found[1]) <= 0.3
    assert len(fake.requests()) == 1
    assert time.monotonic() - began < 4
    fake.treat()
    assert "no time left" in str(client(fake).positions("1", time.monotonic() - 1).error)


def test_the_key_is_masked_in_what_the_service_says(fake: FakeMt5) -> None:
    fake.treat(body=f'{{"success": false, "error_message": "bad key {KEY}\\n[bold]"}}', status=400)
    assert client(fake).info("1").error == "bad key *** [bold]"
    fake.treat(body='{"success": false, "error_message": "a\\u0000b\\ud800"}')
    assert client(fake).info("1").error == "a b"  # Postgres could keep neither
    fake.treat()
    assert client(fake, key="wrong").info("1").error == "the service does not accept MT5_SERVICE_API_KEY (HTTP 401)"


def test_a_service_that_always_has_one_more_page(fake: FakeMt5) -> None:
    body = '{"success": true, "trades": [%s], "pagination": {"has_more": true}}'
    fake.treat(body=body % "")
    assert client(fake).history("1", ALL).error == "there is more after 0 trades, but the next page is empty"
    fake.requests()
    fake.treat(endless=2)
    listing = client(fake).history("1", ALL)
    assert len(fake.requests()) == MOST_PAGES
    assert str(listing.error).startswith(f"there are more than {MOST_PAGES} pages: {2 * MOST_PAGES} trades have been")
    assert len(listing.items) == 2 * MOST_PAGES
    assert listing.part is not None
    assert listing.part.offset == 2 * MOST_PAGES
    rest = client(fake).history("1", listing.part)
    assert not rest.items.keys() & listing.items.keys(), "the next read goes on"


def test_a_service_that_ignores_the_offset_is_noticed_after_one_repeat(fake: FakeMt5) -> None:
    body = '{"success": true, "trades": [%s], "pagination": {"has_more": true}}'
    fake.treat(body=body % '{"ticket": 5, "symbol": "X", "type": "buy", "volume": 1}')
    listing = client(fake).history("1", ALL)
    assert len(fake.requests()) == 2
    assert listing.error == "the page at offset 1 repeats the one before it; is offset ignored?"
    assert [ticket for ticket, _ in listing.items] == ["5"]


def test_a_full_page_without_pagination_is_not_the_end(fake: FakeMt5) -> None:
    fake.account("1", history=[trade(number) for number in range(1500)])
    fake.treat(bare=True)
    listing = client(fake).history("1", ALL)
    assert (len(listing.items), listing.error, len(fake.requests())) == (1500, None, 2)
    fake.account("1", history=[trade(2)])


def test_pages_before_a_failure_are_kept(fake: FakeMt5) -> None:
    fake.account("1", history=[trade(number) for number in range(1500)])
    assert len(client(fake).history("1", ALL).items) == 1500
    assert len(fake.requests()) == 2
    fake.treat("1", "history", after=1, status=500)
    listing = client(fake).history("1", ALL)
    assert len(fake.requests()) == 3
    assert len(listing.items) == 1000
    assert "HTTP 500" in str(listing.error)
    fake.treat("1", "history")


def test_health(fake: FakeMt5) -> None:
    assert client(fake).health() < 5
    fake.treat(status=503)
    with pytest.raises(ServiceError, match="HTTP 503"):
        client(fake).health()
