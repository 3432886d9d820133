"""Sends messages through Apprise, which runs in a process of its own: it would cost a service 23 MB for good."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from extract.errors import SettingsError
from extract.settings import Settings
from extract.troubles import Message

SEND_SECONDS = 20.0
"""How long a receiver may take for a message."""
START_SECONDS = 40.0
"""How much longer the process may take. It starts within a second, but not on a machine that is short of memory."""
LONGEST_QUEUE = 100
"""Messages that wait for one receiver; then the oldest is dropped."""
FIRST_WAIT, LONGEST_WAIT = 2.0, 600.0
"""Seconds before a message is tried again; doubled each time."""
BETWEEN_URLS = re.compile(r"[\s,;]+(?=[a-z0-9]{1,32}://)", re.IGNORECASE)


@dataclass(eq=False)
class Receiver:
    """One URL of ALERT_URLS and the messages that it has not taken yet, the oldest first.

    Attributes:
        position: its place in the list, from 1; logs and errors name it by this alone.
        url: a secret.
        queue: the messages.
        failures: tries that have failed in a row.
        next_at: when to try again (monotonic clock).
    """

    position: int
    url: str = field(repr=False)
    queue: deque[Message] = field(default_factory=deque)
    failures: int = 0
    next_at: float = 0.0

    def add(self, message: Message) -> bool:
        """Let a message wait; False if the oldest had to go for it."""
        self.queue.append(message)
        if len(self.queue) <= LONGEST_QUEUE:
            return True
        self.queue.popleft()
        return False

    @property
    def wait(self) -> float:
        """Seconds to wait after so many failures."""
        return min(FIRST_WAIT * 2.0 ** min(self.failures - 1, 30), LONGEST_WAIT)


def receivers(settings: Settings) -> list[Receiver]:
    """The receivers that ALERT_URLS names; none if it is not set.

    Raises:
        SettingsError: Apprise cannot read one; the message has its place in the list, not its text.
    """
    if settings.alert_urls is None:
        return []
    urls = separated(settings.alert_urls.get_secret_value())
    found = [Receiver(position, url) for position, url in enumerate(urls, 1)]
    failures = send(found, None)
    wrong = [f"URL {position} of {len(found)}: {why}" for position, why in failures.items() if why]
    if wrong:
        raise SettingsError(f"ALERT_URLS: {'; '.join(wrong)}")
    return found


def separated(text: str) -> list[str]:
    """The URLs of a list, separated as Apprise does it, but that nothing of the text is left out.

    Blanks, commas and semicolons separate URLs where a scheme follows; elsewhere they are part of a URL.
    """
    return BETWEEN_URLS.split(text.strip(" \t\r\n,;"))


def send(
    to: Sequence[Receiver], messages: Mapping[int, Message] | None, seconds: float = SEND_SECONDS
) -> dict[int, str | None]:
    """Send each receiver its message, all at once; None only checks the URLs.

    Args:
        to: the receivers.
        messages: position -> message.
        seconds: the most that a receiver may take.

    Returns:
        Position -> why it failed, None if the message was taken.
    """
    jobs = []
    for each in to:
        job: dict[str, object] = {"position": each.position, "url": each.url, "body": None}
        if messages is not None:
            message = messages[each.position]
            job |= {"title": message.title, "body": message.body, "good": message.good}
        jobs.append(job)
    results: dict[int, str | None] = {each.position: "the sending process broke off" for each in to}
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "extract.alert_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # Apprise and its plugins may write secrets there
            text=True,
            start_new_session=True,  # Ctrl-C goes to the parent, which lets it end
        )
    except OSError as error:
        return dict.fromkeys(results, f"the sending process cannot start: {error.strerror}")
    task = json.dumps({"seconds": seconds, "limit": seconds + START_SECONDS, "jobs": jobs})
    try:
        written, _ = process.communicate(task, timeout=seconds + START_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        written, _ = process.communicate()
        results = dict.fromkeys(results, f"no answer within {seconds + START_SECONDS:g} s")
    for line in written.splitlines():
        with suppress(ValueError):  # a line that was cut off: the process was killed
            answer = json.loads(line)
            results[answer["position"]] = answer["failure"]
    return results
