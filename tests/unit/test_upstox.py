"""Upstox's limits, replies and lists, without a warehouse."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from extract.rest import HttpClient, Pace, ServiceError, UnavailableError
from extract.sources.upstox.candles import typed
from extract.sources.upstox.client import BlockedError, EndpointError, RejectedRequestError, TokenError, Upstox
from extract.sources.upstox.instruments import items_of
from extract.sources.upstox.limits import Limit, Limits
from tests.support.fake_upstox import PAGE_1010, TOKEN, FakeUpstox
from tests.support.upstox_rows import IST

KEY = "NSE_INDEX|Nifty 50"
MONDAY = date(2025, 1, 6)
CUT_OFF = gzip.compress(b'[{"a": 1}]', mtime=0)[:-9]


class Clock:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


@pytest.fixture(scope="module")
def server() -> Iterator[FakeUpstox]:
    with FakeUpstox() as fake:
        fake.listing(KEY, date(2024, 1, 1), volume=0)
        yield fake


@pytest.fixture
def fake(server: FakeUpstox) -> FakeUpstox:
    server.requests()
    return server


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def upstox(fake: FakeUpstox, slept: list[float]) -> Iterator[Upstox]:
    with (
        HttpClient(fake.url, Pace(0), sleep=slept.append) as http,
        HttpClient(f"{fake.url}/masters", Pace(0)) as masters,
    ):
        yield Upstox(http, masters, SecretStr(TOKEN))


def test_the_minutes_of_210_shares_since_2022_take_three_hours() -> None:
    months = 59
    assert f"{Limits(clock=Clock().now).seconds(210 * months) / 3600:.1f}" == "3.1"


@pytest.mark.parametrize(("requests", "earlier"), [(30, 0), (120, 0), (1_200, 0), (2_000, 0), (2_000, 700), (5_000, 0)])
def test_no_span_has_more_requests_than_its_limit(requests: int, earlier: int) -> None:
    clock = Clock()
    limits = Limits([earlier - n for n in range(earlier)], clock.now, clock.sleep)
    promised = limits.seconds(requests)
    limits.expect(requests)
    sent = [-float(earlier - n) for n in range(earlier)]
    for _ in range(requests):
        limits.wait()
        sent.append(clock.now())
    assert clock.now() == pytest.approx(promised, abs=1e-6)
    for most, seconds in ((50, 1.0), (500, 60.0), (2000, 1800.0)):
        for first, beyond in zip(sent, sent[most:], strict=False):
            assert beyond - first >= seconds - 1e-6


def test_a_plan_takes_as_long_as_it_says_on_a_real_clock() -> None:
    limits = Limits(limits=(Limit(10, 0.1), Limit(1000, 60.0)))
    promised = limits.seconds(45)
    limits.expect(45)
    begun = time.monotonic()
    for _ in range(45):
        limits.wait()
    assert promised == pytest.approx(0.4)
    assert promised <= time.monotonic() - begun < promised + 2


def test_requests_are_what_upstox_expects(fake: FakeUpstox, upstox: Upstox) -> None:
    days = upstox.history(KEY, "1d", MONDAY, MONDAY + timedelta(days=4))
    assert [candle[0][:10] for candle in days] == [str(MONDAY + timedelta(days=n)) for n in (4, 3, 2, 1, 0)]
    assert len(upstox.history(KEY, "1m", MONDAY, MONDAY)) == 3
    assert upstox.intraday(KEY) == []
    assert upstox.expiries(KEY) == []
    assert fake.requests() == [
        f"/v3/historical-candle/{KEY}/days/1/2025-01-10/2025-01-06",
        f"/v3/historical-candle/{KEY}/minutes/1/2025-01-06/2025-01-06",
        f"/v3/historical-candle/intraday/{KEY}/minutes/1",
        f"/v2/expired-instruments/expiries?instrument_key={KEY}",
    ]


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (401, "UDAPI100050", TokenError, "does not accept UPSTOX_ACCESS_TOKEN (UDAPI100050)"),
        (401, "UDAPI100067", EndpointError, "refuses this kind of token"),
        (403, "UDAPI1149", EndpointError, "paid plan"),
        (400, "UDAPI1148", EndpointError, "too long for one request"),
        (400, "UDAPI100011", RejectedRequestError, "(UDAPI100011: told so)"),
    ],
)
def test_error_codes(
    fake: FakeUpstox, upstox: Upstox, status: int, code: str, kind: type[ServiceError], words: str
) -> None:
    fake.refuse("/v3/historical-candle", status, code)
    with pytest.raises(kind) as caught:
        upstox.history(KEY, "1d", MONDAY, MONDAY)
    fake.refuse("/v3/historical-candle", 0, "")
    assert words in str(caught.value)
    assert type(caught.value) is kind
    assert len(fake.requests()) == 1


def test_a_window_that_is_too_long_is_an_error_of_upstox(upstox: Upstox) -> None:
    with pytest.raises(EndpointError, match="UDAPI1148"):
        upstox.history(KEY, "1m", date(2025, 1, 1), date(2025, 2, 10))


def test_the_firewall_is_not_asked_twice(fake: FakeUpstox, upstox: Upstox) -> None:
    fake.next({"status": 403, "body": PAGE_1010})
    with pytest.raises(BlockedError, match="firewall"):
        upstox.history(KEY, "1d", MONDAY, MONDAY)
    assert len(fake.requests()) == 1


def test_a_429_without_retry_after_waits_longer_each_time(fake: FakeUpstox, upstox: Upstox, slept: list[float]) -> None:
    body = json.dumps({"status": "error", "errors": [{"error_code": "UDAPI10005", "message": "Too Many Request Sent"}]})
    fake.next(*[{"status": 429, "body": body}] * 4)
    assert len(upstox.history(KEY, "1d", MONDAY, MONDAY)) == 1
    assert slept == [2.0, 60.0, 120.0, 120.0]


@pytest.mark.parametrize("body", ["", "[]", '{"status": "success"}', '{"status": "success", "data": {"candles": 1}}'])
def test_a_reply_that_is_none_is_tried_again(fake: FakeUpstox, upstox: Upstox, body: str) -> None:
    fake.next({"status": 200, "body": body})
    assert len(upstox.history(KEY, "1d", MONDAY, MONDAY)) == 1
    assert len(fake.requests()) == 2


def test_candles_are_typed_sorted_and_of_their_window() -> None:
    found = typed(
        [
            ["2025-01-07T09:15:00+05:30", 1, 2, 0.5, 1.5, 7, 3],
            ["2025-01-06T09:16:00+05:30", 1.25, 2, 0.5, 1.5, 7],
            ["2025-01-06T03:45:00+00:00", 1, 2, 0.5, 1.5, 7, None],
            ["2025-01-06T09:15:00+05:30", 9, 9, 9, 9, 9, 9],
            ["2025-01-03T09:15:00+05:30", 1, 2, 0.5, 1.5, 7, 3],
        ],
        MONDAY,
        MONDAY + timedelta(days=1),
    )
    opened = datetime(2025, 1, 6, 9, 15, tzinfo=IST)
    assert found.timestamps == [opened, opened + timedelta(minutes=1), opened + timedelta(days=1)]
    assert (found.open, found.volume, found.oi) == ([1.0, 1.25, 1.0], [7, 7, 7], [None, None, 3])
    assert found.days == [MONDAY, MONDAY + timedelta(days=1)]
    assert found.rejects == []


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (5, "no array with a time and its zone"),
        ([], "no array with a time and its zone"),
        (["2025-01-06T09:15:00", 1, 2, 1, 1, 1, 1], "no array with a time and its zone"),
        (["2025-02-31T09:15:00+05:30", 1, 2, 1, 1, 1, 1], "no array with a time and its zone"),
        (["2025-01-06T09:15:00+05:30", 1, 2, 1, 1], "fewer than six fields"),
        (["2025-01-06T09:15:00+05:30", 0, 2, 1, 1, 1, 1], "a price is no positive number"),
        (["2025-01-06T09:15:00+05:30", "1", 2, 1, 1, 1, 1], "a price is no positive number"),
        (["2025-01-06T09:15:00+05:30", float("nan"), 2, 1, 1, 1, 1], "a price is no positive number"),
        (["2025-01-06T09:15:00+05:30", True, 2, 1, 1, 1, 1], "a price is no positive number"),
        (["2025-01-06T09:15:00+05:30", 3, 2, 1, 1, 1, 1], "a price lies outside high and low"),
        (["2025-01-06T09:15:00+05:30", 2, 2, 1.5, 1, 1, 1], "a price lies outside high and low"),
        (["2025-01-06T09:15:00+05:30", 1, 2, 1, 1, -1, 1], "the volume is no number"),
        (["2025-01-06T09:15:00+05:30", 1, 2, 1, 1, 10**400, 1], "the volume is no number"),
        (["2025-01-06T09:15:00+05:30", 1, 2, 1, 1, 1, "x"], "the open interest is no number"),
    ],
)
def test_a_candle_that_cannot_be_used_is_a_reject(item: Any, reason: str) -> None:
    found = typed([item], MONDAY, MONDAY)
    assert not found.timestamps
    assert [(each.field, each.reason) for each in found.rejects] == [("candle", reason)]


def test_a_master_is_read_item_by_item_whatever_its_size() -> None:
    rows = [{"instrument_key": f"NSE_EQ|{n}", "name": "ü" * 40} for n in range(40_000)]
    text = json.dumps(rows, ensure_ascii=False)
    for body in (gzip.compress(text.encode(), compresslevel=1), text.encode()):
        found = list(items_of(body))
        assert [item for _, item in found] == rows
        assert json.loads(found[-1][0]) == rows[-1]
    assert list(items_of(b" [ ] ")) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[{}",
        b'[{"a": 1}, {"b"',
        b"<html>",
        gzip.compress(b'[{"a": 1}]', mtime=0)[:-9],
        b"\x1f\x8bxxxx",
        b"[\xff]",
    ],
)
def test_a_master_that_is_damaged_is_one_error(body: bytes) -> None:
    with pytest.raises(UnavailableError, match="instrument master"):
        list(items_of(body))
