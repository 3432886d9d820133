"""Bybit's client against the fake server: signatures, windows, pages, and what each answer of Bybit's means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from extract.rejects import Reject
from extract.rest import LONGEST_WAIT, Bounds, HttpClient, Pace, ServiceError, UnavailableError
from extract.sources.bybit.client import (
    AccountError,
    BannedError,
    Bybit,
    Execution,
    RegionError,
    RejectedRequestError,
    milliseconds,
    signature,
)
from tests.support.bybit_items import days_ago, execution, now_ms, trades
from tests.support.fake_bybit import KEY, OTHER_KEY, OTHER_SECRET, OTHER_UID, SECRET, UID, FakeBybit

BOUNDS = Bounds()


@dataclass
class Account:
    """A client of the fake, and how long it has slept between attempts."""

    fake: FakeBybit
    key: str = KEY
    secret: str = SECRET
    slept: list[float] = field(default_factory=list)

    def client(self) -> Bybit:
        key, secret = SecretStr(self.key), SecretStr(self.secret)
        http = HttpClient(self.fake.url, Pace(0), secrets=(key, secret), sleep=self.slept.append)
        return Bybit(http, key, secret)

    def read(self, days: float = 6, category: str = "linear") -> dict[str, Any]:
        until = datetime.now(timezone.utc)
        return dict(self.client().executions(category, until - timedelta(days=days), until))

    def fails(self, kind: type[ServiceError]) -> str:
        with pytest.raises(kind) as caught:
            self.read()
        assert type(caught.value) is kind
        message = str(caught.value)
        assert self.key not in message
        assert self.secret not in message
        assert "\n" not in message
        return message


@pytest.fixture(scope="module")
def running_fake() -> Iterator[FakeBybit]:
    with FakeBybit() as fake:
        yield fake


@pytest.fixture
def account(running_fake: FakeBybit) -> Iterator[Account]:
    running_fake.requests()
    yield Account(running_fake)
    running_fake.always()
    running_fake.skew(0)
    running_fake.clear()


# --- signing ---------------------------------------------------------------------------------


def test_signature_is_that_of_the_documented_formula() -> None:
    # computed with: printf %s TEXT | openssl dgst -sha256 -hmac secretOf
    text = "1658384314791" + "keyOf" + "5000" + "category=linear&cursor=1%3A2"
    expected = "7828cfeace1618301181a49c1ee09a1cc8abde0fafdafb07a424907d71cc9e21"
    assert signature(SecretStr("secretOf"), text) == expected


def test_the_clock_of_the_machine_is_told_from_bybits(account: Account) -> None:
    account.fake.skew(-700)
    assert 0.6 < account.client().probe("linear") < 5


# --- pages -----------------------------------------------------------------------------------


def test_all_pages_are_read_and_none_twice(account: Account) -> None:
    account.fake.generate(1234, days_ago(5), days_ago(0.1))
    found = account.read()
    assert found.keys() == {item["execId"] for item in trades(1234, 0, 10)}
    queries = [query for _, query in account.fake.requests()]
    assert len(queries) == 13
    assert all("limit=100" in query for query in queries)
    assert all("%3A" in query and "%25" not in query for query in queries[1:])


def test_the_longest_span_is_one_request(account: Account) -> None:
    account.read(days=7)
    [(_, query)] = account.fake.requests()
    parts = dict(part.split("=") for part in query.split("&"))
    assert int(parts["endTime"]) - int(parts["startTime"]) == 7 * 86_400_000


def test_executions_at_one_millisecond_span_pages(account: Account) -> None:
    at = days_ago(1)
    account.fake.add(execution(f"tie-{number}", at) for number in range(250))
    assert len(account.read()) == 250


def test_a_page_that_comes_twice_is_asked_for_again(account: Account) -> None:
    account.fake.generate(450, days_ago(5), days_ago(0.1))
    account.fake.next({}, {}, {"repeat": True}, {})
    assert len(account.read()) == 450
    assert len(account.fake.requests()) == 6


def test_a_page_that_comes_again_and_again_is_an_error(account: Account) -> None:
    account.fake.generate(450, days_ago(5), days_ago(0.1))
    account.fake.next({}, *[{"repeat": True}] * BOUNDS.attempts)
    assert account.fails(UnavailableError) == (
        f"Bybit sends a page a second time instead of the next one (tried {BOUNDS.attempts} times)"
    )


def test_executions_that_arrive_between_pages_take_none_away(account: Account) -> None:
    account.fake.generate(450, days_ago(5), days_ago(1))
    account.fake.next({}, {"late": [execution("newer", days_ago(0.5)), execution("older", days_ago(4.9))]})
    found = account.read()
    assert len(found.keys() - {"newer", "older"}) == 450
    assert "older" in found


def test_a_window_without_executions(account: Account) -> None:
    assert account.read() == {}


# --- items -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "field", "reason"),
    [
        ('"a text"', "execId", "the item is not an object"),
        ("null", "execId", "the item is not an object"),
        ('{"execTime": "1741964966000"}', "execId", "no valid execId"),
        ('{"execId": "", "execTime": "1741964966000"}', "execId", "no valid execId"),
        ('{"execId": "a\\u0000b", "execTime": "1741964966000"}', "execId", "no valid execId"),
        ('{"execId": "\\ud800", "execTime": "1741964966000"}', "execId", "no valid execId"),
        (f'{{"execId": "{"x" * 201}", "execTime": "1741964966000"}}', "execId", "no valid execId"),
        ('{"execId": "e1"}', "execTime", "not Unix milliseconds between 2000 and 2100"),
        ('{"execId": "e1", "execTime": "1741964966"}', "execTime", "not Unix milliseconds between 2000 and 2100"),
        ('{"execId": "e1", "execTime": "yesterday"}', "execTime", "not Unix milliseconds between 2000 and 2100"),
        ('{"execId": "e1", "execTime": 1.5}', "execTime", "not Unix milliseconds between 2000 and 2100"),
    ],
)
def test_an_item_that_cannot_land_takes_none_along(account: Account, text: str, field: str, reason: str) -> None:
    account.fake.add([execution("sound", days_ago(1))])
    account.fake.add_text(days_ago(2), text)
    found = account.read()
    assert isinstance(found.pop("sound"), Execution)
    [item] = found.values()
    assert isinstance(item, Reject)
    assert (item.field, item.reason) == (field, reason)


def test_an_execution_keeps_its_milliseconds_and_its_payload(account: Account) -> None:
    at = days_ago(1)
    account.fake.add([execution("e1", at, execType="SomethingNew", closedSize="")])
    item = account.read()["e1"]
    assert milliseconds(item.exec_time) == at
    assert '"execType": "SomethingNew"' in item.payload


# --- what Bybit's answers mean ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (10003, AccountError, "BYBIT_API_KEY"),
        (33004, AccountError, "expired"),
        (10005, AccountError, "may not read executions"),
        (10010, AccountError, "other IP addresses"),
        (10009, RegionError, "not available in your region"),
        (10018, BannedError, "ten minutes"),
        *((10001, RejectedRequestError, "10001: told so"), (10024, RejectedRequestError, "10024: told so")),
    ],
)
def test_a_code_that_no_further_attempt_would_change(
    account: Account, code: int, kind: type[ServiceError], words: str
) -> None:
    account.fake.always(code=code)
    message = account.fails(kind)
    assert words in message
    assert str(code) in message
    assert len(account.fake.requests()) == 1


def test_a_wrong_key_and_a_wrong_secret(running_fake: FakeBybit) -> None:
    assert "does not know the key" in Account(running_fake, key="another").fails(AccountError)
    # Bybit's own words for this quote the key
    assert "BYBIT_API_SECRET" in Account(running_fake, secret="another").fails(AccountError)


def test_an_account_is_known_by_its_number_and_its_site(running_fake: FakeBybit) -> None:
    assert Account(running_fake).client().account_uid() == str(UID)
    assert Account(running_fake, key=OTHER_KEY, secret=OTHER_SECRET).client().account_uid() == str(OTHER_UID)
    for host, uid in (("api", "7"), ("api-testnet", "testnet-7"), ("api-demo", "demo-7")):
        http: Any = SimpleNamespace(address=f"https://{host}.bybit.com", retrying=lambda _: {"result": {"userID": 7}})
        assert Bybit(http, SecretStr("key"), SecretStr("secret")).account_uid() == uid


@pytest.mark.parametrize(("skew", "side"), [(60_000, "behind"), (-60_000, "ahead of")])
def test_a_clock_that_is_off(account: Account, skew: int, side: str) -> None:
    account.fake.skew(skew)
    message = account.fails(AccountError)
    assert f"s {side} Bybit's" in message
    found = re.search(r"clock is ([\d.]+) s", message)
    assert found, message
    assert float(found[1]) == pytest.approx(60, abs=2)  # the reply may have taken a while


@pytest.mark.parametrize("reset_in", [3_000, -3_000, None])
def test_the_rate_limit_is_waited_for(account: Account, reset_in: int | None) -> None:
    account.fake.add([execution("e1", days_ago(1))])
    account.fake.next({"code": 10006} | ({} if reset_in is None else {"reset_in": reset_in}))
    assert list(account.read()) == ["e1"]
    [slept] = account.slept
    assert slept == 3.0 if reset_in == 3_000 else 0.5 <= slept <= 1.5


def test_a_reset_far_ahead_is_not_waited_for_to_the_end(account: Account) -> None:
    account.fake.next({"code": 10006, "reset_in": 86_400_000})
    account.read()
    assert account.slept == [LONGEST_WAIT]


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 503, "body": "<html>maintenance</html>"},
        {"status": 429},
        {"code": 10000},
        {"code": 10016},
        {"code": 10429},
        {"code": 170001},
        {"code": 170007},
        {"code": 170032},
        {"cut": True},
        {"body": "<html>a proxy has something to say</html>"},
        {"body": '{"retCode": 0, "result": {}}'},
        {"body": '{"retCode": 0, "result": {"list": [], "nextPageCursor": 7}}'},
        {"body": '{"hello": "world"}'},
        {"body": "[" * 100_000},
        {"body": ""},
    ],
    ids=str,
)
def test_trouble_that_passes_is_lived_through(account: Account, fault: dict[str, Any]) -> None:
    account.fake.generate(250, days_ago(5), days_ago(1))
    account.fake.next({}, fault, fault)
    assert len(account.read()) == 250
    assert len(account.slept) == 2
    assert len(account.fake.requests()) == 5


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status": 500}, "answers HTTP 500"),
        ({"cut": True}, "does not answer: peer closed connection"),
        ({"body": "nonsense"}, "a reply is not JSON (HTTP 200, 8 bytes)"),
        ({"body": '{"hello": "world"}'}, "is BYBIT_BASE_URL right?"),
    ],
)
def test_trouble_that_stays_is_an_error_after_bounded_attempts(
    account: Account, fault: dict[str, Any], words: str
) -> None:
    account.fake.always(**fault)
    message = account.fails(UnavailableError)
    assert words in message
    assert message.endswith(f"(tried {BOUNDS.attempts} times)")
    assert len(account.fake.requests()) == BOUNDS.attempts
    assert 30 < sum(account.slept) < 120


def test_a_service_that_says_when_to_come_back(account: Account) -> None:
    later = datetime.now(timezone.utc) + timedelta(seconds=50)
    account.fake.next(
        {"status": 429, "headers": {"Retry-After": "7"}},
        {"status": 503, "headers": {"Retry-After": format_datetime(later, usegmt=True)}},
        {"status": 503, "headers": {"Retry-After": "soon"}},
    )
    account.read()
    assert account.slept[0] == 7
    assert 45 < account.slept[1] <= 50
    assert account.slept[2] < 10


def test_answers_that_are_not_bybits(account: Account) -> None:
    account.fake.next({"status": 403, "body": "<html>Forbidden</html>"})
    assert "Wait ten minutes" in account.fails(BannedError)
    account.fake.next({"status": 401})
    assert "BYBIT_API_KEY" in account.fails(AccountError)
    account.fake.next({"status": 404})
    assert "BYBIT_CATEGORIES" in account.fails(RejectedRequestError)
    account.fake.next({"status": 302, "headers": {"Location": "http://elsewhere/?key=" + KEY}})
    assert "redirects" in account.fails(ServiceError)
    account.fake.next({"body": "x" * (BOUNDS.size + 1)})
    assert "more than" in account.fails(ServiceError)


def test_words_of_bybits_are_cut_and_hold_no_secret(account: Account) -> None:
    account.fake.always(code=10001, message=f"no {KEY}\nand {SECRET}" + " blah" * 100)
    message = account.fails(RejectedRequestError)
    assert "no *** and *** blah" in message
    assert len(message) < 300


def test_nobody_at_home(account: Account) -> None:
    nowhere = Account(account.fake)
    nowhere.fake = FakeBybit()
    nowhere.fake.url = "http://127.0.0.1:1"
    assert "http://127.0.0.1:1 does not answer: [Errno 111] Connection refused" in nowhere.fails(UnavailableError)


def test_the_fake_refuses_what_bybit_refuses(account: Account) -> None:
    now = now_ms()
    week = 7 * 86_400_000
    client = account.client()
    for query, words in (
        (f"category=linear&startTime={now - week - 1}&endTime={now}", "7 days"),
        ("category=linear&limit=101", "limit"),
        ("category=futures", "category"),
        (f"category=linear&startTime={now - 740 * 86_400_000}&endTime={now - 739 * 86_400_000}", "2 years"),
        ("category=linear&cursor=1%253A2%252C1%253A2", "cursor"),
        ("category=linear&cursor=1:2,1:2", "cursor"),
    ):
        with pytest.raises(RejectedRequestError, match=words):
            client._ask("/v5/execution/list", query)
