"""What a poll asks for and how batches follow each other."""

from __future__ import annotations

import logging
import math
import threading
from datetime import datetime, timedelta, timezone

import pytest
from pydantic import SecretStr

from extract.rest import HttpClient, Pace
from extract.sources.accounts.client import AccountClient
from extract.sources.accounts.items import HistoryPart
from extract.sources.accounts.poll import Due, polled
from tests.support.fake_mt5 import KEY, FakeMt5

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=timezone.utc)
DAY = timedelta(days=1)


def test_what_is_asked_of_a_history() -> None:
    """A day ahead, a day back, thirty days at first, and from where something is missing."""
    assert Due().history(NOW) == HistoryPart(NOW - 30 * DAY, NOW + DAY)
    read = NOW - timedelta(minutes=5)
    assert Due(read).history(NOW) == HistoryPart(read - DAY, NOW + DAY)
    assert Due(read, NOW - 9 * DAY).history(NOW) == HistoryPart(NOW - 10 * DAY, NOW + DAY)
    assert Due(read, NOW - timedelta(minutes=1)).history(NOW).since == read - DAY
    assert Due(read, NOW - 100 * DAY).history(NOW).since == NOW - 30 * DAY, "what is lost is not asked for for ever"
    assert Due(NOW - 40 * DAY, NOW - 35 * DAY).history(NOW).since == NOW - 41 * DAY
    unfinished = HistoryPart(NOW - 20 * DAY, NOW - 3 * DAY, 700)
    assert Due(read, None, unfinished).history(NOW) == unfinished


class Waits(threading.Event):
    """A stop that notes for how long it was waited for, and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout)
        return False


def test_batches_are_apart_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    waits, caplog_level = Waits(), caplog.at_level(logging.INFO, "tradehouse")
    names = [f"{number:02d}" for number in range(21)]
    with FakeMt5() as fake, HttpClient(fake.url, Pace(0)) as http, caplog_level:
        fake.generate(names, 1, 1)
        due = {name: Due() for name in names}
        client = AccountClient(http, SecretStr(KEY))
        batches = list(polled(client, due, math.inf, 300, waits, lambda *_: None, 30, "an-id"))
    assert [len(batch) for batch in batches] == [10, 10, 1]
    assert waits.seconds == [0.1, 0.1]
    assert [message.split(" in ")[0] for message in caplog.messages] == [
        "execution an-id: batch 1 of 3: 10 accounts",
        "execution an-id: batch 2 of 3: 10 accounts",
        "execution an-id: batch 3 of 3: 1 accounts",
    ]
