"""Which troubles a service has, and of which of them people have to be told: the rules, without thread or network."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

GATHER = timedelta(seconds=1)
"""How long a due message waits for others: what fails in one tick is one message."""
LISTED = 10
"""Troubles that a message lists; it counts the others."""
LONGEST = 300
"""Characters of a trouble in a message. Ten of these fit into one message of Telegram, which takes 4,096."""


@dataclass(eq=False)
class Trouble:
    """A trouble from when it comes to when it goes; a row of `ops.alerts`.

    Attributes:
        name: what has the trouble: a part, a model, a test, a step of the service.
        text: what is wrong.
        since: when it came, UTC.
        told_at: when the first receiver took the message that it came.
        cleared_at: when it went.
        end_told_at: when the first receiver took the message that it went.
        seen: whether this process has seen it; else it is only on record.
        announced: whether people have to be told of it; then a message that it came has been made, or is not needed.
        recorded: whether it is on record.
    """

    name: str
    text: str
    since: datetime
    told_at: datetime | None = None
    cleared_at: datetime | None = None
    end_told_at: datetime | None = None
    seen: bool = False
    announced: bool = False
    recorded: bool = False

    @property
    def is_passing(self) -> bool:
        """Whether it went before it was due to be told, so that nothing of it is kept."""
        return self.cleared_at is not None and not self.announced


@dataclass(eq=False)
class Message:
    """A message to all receivers about troubles that came, or that went (`good`)."""

    title: str
    body: str
    good: bool = False
    troubles: Sequence[Trouble] = ()


def now() -> datetime:
    """The time, UTC."""
    return datetime.now(timezone.utc)


@dataclass
class Troubles:
    """The troubles of one service.

    Attributes:
        source: whose service it is; named in every title.
        after: how long a trouble must last before it is told.
        clock: gives the time, UTC.
        host: the machine's name, for titles.
    """

    source: str
    after: timedelta
    clock: Callable[[], datetime] = now
    host: str = field(default_factory=socket.gethostname)
    _open: dict[str, Trouble] = field(default_factory=dict)
    _ended: list[Trouble] = field(default_factory=list)  # their end is in no message yet
    _unwritten: dict[int, Trouble] = field(default_factory=dict)

    def note(self, name: str, text: str) -> None:
        """A trouble is there, for the first time or still. Another text does not make it a new one."""
        trouble = self._open.setdefault(name, Trouble(name, text, self.clock()))
        if not trouble.seen or trouble.text != text:
            trouble.seen, trouble.text = True, text
            self._write(trouble)

    def clear(self, *names: str) -> None:
        """These have no trouble now. If people were told of one, or are about to be, they are told of its end."""
        for name in names:
            trouble = self._open.pop(name, None)
            if trouble is None:
                continue
            trouble.cleared_at = self.clock()
            if trouble.seen and trouble.since + self.after <= trouble.cleared_at:
                trouble.announced = True  # by the message of its end, if by no other
            if trouble.announced:
                self._ended.append(trouble)
            self._write(trouble)

    def settle(self) -> None:
        """All has been looked at: troubles that are only on record have ended."""
        self.clear(*[name for name, trouble in self._open.items() if not trouble.seen])

    def restore(self, recorded: Iterable[Trouble]) -> None:
        """Take over troubles on record whose end has not been told. One that is here too goes on from its record."""
        for old in recorded:
            old.recorded, old.announced = True, old.told_at is not None or old.cleared_at is not None
            here = self._open.get(old.name)
            if old.cleared_at is not None:
                self._ended.append(old)
            elif here is None:
                self._open[old.name] = old
            else:
                here.since, here.told_at, here.recorded = old.since, old.told_at or here.told_at, True
                here.announced = here.announced or old.announced
                self._write(here)

    def due_messages(self) -> list[Message]:
        """Messages that have to be sent now; each is given once."""
        at = self.clock()
        messages: list[Message] = []
        due = self.due_at()
        if due is None or due > at:
            return messages
        came = [trouble for trouble in self._untold() if trouble.since + self.after <= at]
        if came:
            for trouble in came:
                trouble.announced = True
            title = "trouble" if len(came) == 1 else f"{len(came)} troubles"
            messages.append(self._message(title, [_coming(trouble) for trouble in came], came))
        if self._ended:
            gone, self._ended = self._ended, []
            title = "cleared" if len(gone) == 1 else f"{len(gone)} cleared"
            messages.append(self._message(title, [_going(trouble) for trouble in gone], gone, good=True))
        return messages

    def due_at(self) -> datetime | None:
        """When the next message is due if nothing changes; None: never."""
        moments = [trouble.since + self.after for trouble in self._untold()]
        moments += [trouble.cleared_at for trouble in self._ended if trouble.cleared_at]
        return min(moments) + GATHER if moments else None

    def taken(self, message: Message) -> None:
        """A receiver has taken a message; the first one counts."""
        for trouble in message.troubles:
            told = trouble.end_told_at if message.good else trouble.told_at
            if told is None:
                if message.good:
                    trouble.end_told_at = self.clock()
                else:
                    trouble.told_at = self.clock()
                self._write(trouble)

    @property
    def is_unwritten(self) -> bool:
        """Whether anything differs from the record."""
        return bool(self._unwritten)

    @property
    def is_pending(self) -> bool:
        """Whether something of it will have to be told or written without a further trouble."""
        return bool(self._unwritten or self._ended or any(True for _ in self._untold()))

    def take_unwritten(self) -> list[Trouble]:
        """The troubles that differ from the record, which are then taken for written."""
        taken, self._unwritten = list(self._unwritten.values()), {}
        return taken

    def put_back(self, troubles: Iterable[Trouble]) -> None:
        """Writing these has failed."""
        for trouble in troubles:
            self._write(trouble)

    def _untold(self) -> Iterable[Trouble]:
        return (trouble for trouble in self._open.values() if trouble.seen and not trouble.announced)

    def _write(self, trouble: Trouble) -> None:
        self._unwritten[id(trouble)] = trouble

    def _message(self, what: str, lines: list[str], troubles: Sequence[Trouble], *, good: bool = False) -> Message:
        more = len(lines) - LISTED
        body = "\n".join(lines[:LISTED] + ([f"and {more} more"] if more > 0 else []))
        return Message(f"Tradehouse {self.source} on {self.host}: {what}", body, good, troubles)


def trial() -> Message:
    """A message for trying the receivers."""
    return Message(f"Tradehouse on {socket.gethostname()}: a test", "Alerts of the services will come here.", good=True)


def lasting(duration: timedelta) -> str:
    """A duration in the largest unit of which there are at least two, as in `12 minutes`."""
    seconds = max(0, round(duration.total_seconds()))
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}s"
    return f"{seconds} second{'s' if seconds != 1 else ''}"


def _coming(trouble: Trouble) -> str:
    return f"{_words(trouble)} (since {trouble.since.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC)"


def _going(trouble: Trouble) -> str:
    assert trouble.cleared_at is not None
    lasted = lasting(trouble.cleared_at - trouble.since)
    # nobody has been told what it was: the service ended before a receiver took the message
    what = trouble.name if trouble.told_at else _words(trouble)
    return f"{what}: cleared after {lasted}"


def _words(trouble: Trouble) -> str:
    words = " ".join(f"{trouble.name}: {trouble.text}".split())
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"
