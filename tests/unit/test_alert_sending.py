"""How messages leave: which URLs there are, the limit of a send, waits, the bound of a queue, and no Apprise inside."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from apprise.utils.parse import parse_urls

from extract.alert_sending import LONGEST_QUEUE, START_SECONDS, Receiver, send, separated
from extract.troubles import Message
from tests.support import receiver as support

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "text",
    [
        "json://a/b",
        " json://a, xml://b ,\ttgram://c/d\n",
        "json://a xml://b; json://c",
        "mailto://u:p@h?to=a@b.de,c@d.de,json://a?x=1,2",
        "json://a/b c, xml://d",
    ],
)
def test_urls_are_separated_as_apprise_separates_them(text: str) -> None:
    assert separated(text) == parse_urls(text)  # type: ignore[no-untyped-call]


def test_nothing_between_urls_is_left_out() -> None:
    assert parse_urls("secret, json://a") == ["json://a"]  # type: ignore[no-untyped-call]
    assert separated("secret, json://a") == ["secret", "json://a"]


def test_each_receiver_has_its_own_answer_and_the_limit_holds() -> None:
    with support.Receiver() as good, support.Receiver() as silent, support.Receiver() as broken:
        silent.hangs, broken.status = True, 404
        to = [
            Receiver(1, good.url),
            Receiver(2, f"{silent.url}?rto=600"),  # a URL may bring a patience of its own
            Receiver(3, broken.url),
            Receiver(4, "json://"),
        ]
        begun = time.monotonic()
        messages = {each.position: Message(f"title {each.position}", "line 1\nline 2 <b>&amp;") for each in to}
        assert send(to, messages, seconds=1.0) == {
            1: None,
            2: "no answer within 1 s",
            3: "answered with status 404",
            4: "Apprise cannot read it",
        }
        assert time.monotonic() - begun < 1 + START_SECONDS
        assert good.posts == [support.Post("title 1", "line 1\nline 2 <b>&amp;", "warning")]
        assert support.TOKEN not in repr(to)


def test_waits_double_up_to_ten_minutes() -> None:
    receiver = Receiver(1, "json://a")
    waits = []
    for failures in (1, 2, 3, 9, 10, 5000):
        receiver.failures = failures
        waits.append(receiver.wait)
    assert waits == [2, 4, 8, 512, 600, 600]


def test_a_full_queue_drops_the_oldest() -> None:
    receiver = Receiver(1, "json://a")
    messages = [Message(f"title {number}", "") for number in range(LONGEST_QUEUE + 1)]
    assert [receiver.add(message) for message in messages] == [True] * LONGEST_QUEUE + [False]
    assert list(receiver.queue) == messages[1:]


def test_neither_service_nor_command_imports_apprise() -> None:
    script = "import sys, extract.service, tradehouse.main, extract.alerts; print('apprise' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
