"""Which troubles people are told of, and when: the rules, by a clock that the test moves."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

import pytest

from extract.troubles import Message, Trouble, Troubles, lasting

START = datetime(2025, 1, 6, 11, 20, tzinfo=timezone.utc)


@dataclass
class House:
    """A service's troubles and its clock."""

    at: datetime = START
    troubles: Troubles = field(init=False)

    def __post_init__(self) -> None:
        self.troubles = Troubles("mt5", timedelta(seconds=300), lambda: self.at, "db1")

    def pass_seconds(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

    def told(self) -> list[tuple[str, str]]:
        """Title and body of what is sent now; a receiver takes it."""
        messages = self.troubles.due_messages()
        for message in messages:
            self.troubles.taken(message)
        return [(message.title, message.body) for message in messages]

    def recorded(self) -> list[Trouble]:
        """What is written now, as another process would read it."""
        return [
            Trouble(each.name, each.text, each.since, each.told_at, each.cleared_at)
            for each in self.troubles.take_unwritten()
            if not each.is_passing and each.end_told_at is None
        ]


@pytest.fixture
def house() -> House:
    return House()


def restarted(house: House, recorded: list[Trouble]) -> House:
    """Another process at the same time, which has read the record."""
    other = House(house.at)
    other.troubles.restore(recorded)
    return other


CAME = ("Tradehouse mt5 on db1: trouble", "GBPUSD: no table (since 2025-01-06 11:20 UTC)")


def test_a_trouble_is_told_once_when_it_has_lasted_and_once_when_it_ends(house: House) -> None:
    house.troubles.note("GBPUSD", "no table")
    assert house.troubles.due_at() == START + timedelta(seconds=301)
    house.pass_seconds(300)
    assert house.told() == []
    house.pass_seconds(1)
    assert house.told() == [CAME]
    house.pass_seconds(3600)
    house.troubles.note("GBPUSD", "another text")
    assert (house.told(), house.troubles.due_at()) == ([], None)
    house.pass_seconds(3600)
    house.troubles.clear("GBPUSD")
    assert house.told() == []
    house.pass_seconds(1)
    assert house.told() == [("Tradehouse mt5 on db1: cleared", "GBPUSD: cleared after 2 hours")]
    house.pass_seconds(3600)
    assert (house.told(), house.troubles.due_at()) == ([], None)


def test_a_trouble_that_comes_again_is_a_new_one(house: House) -> None:
    for _ in range(2):
        house.troubles.note("run", "away")
        house.pass_seconds(301)
        assert [title for title, _ in house.told()] == ["Tradehouse mt5 on db1: trouble"]
        house.troubles.clear("run")
        house.pass_seconds(1)
        assert [title for title, _ in house.told()] == ["Tradehouse mt5 on db1: cleared"]


def test_a_shorter_trouble_is_told_never_and_leaves_no_record(house: House) -> None:
    house.troubles.note("run", "away")
    house.pass_seconds(299.9)
    house.troubles.clear("run")
    house.pass_seconds(10_000)
    assert (house.told(), house.recorded(), house.troubles.due_at()) == ([], [], None)


def test_the_text_at_the_time_of_telling_counts(house: House) -> None:
    house.troubles.note("run", "timeout")
    house.pass_seconds(60)
    house.troubles.note("run", "connection\nrefused")
    house.pass_seconds(241)
    assert house.told()[0][1] == "run: connection refused (since 2025-01-06 11:20 UTC)"


def test_a_trouble_that_ends_just_when_it_is_due_is_told_with_its_end(house: House) -> None:
    house.troubles.note("run", "away")
    house.pass_seconds(300)
    house.troubles.clear("run")
    house.pass_seconds(1)
    assert house.told() == [("Tradehouse mt5 on db1: cleared", "run: away: cleared after 5 minutes")]


def test_troubles_of_one_moment_are_one_message(house: House) -> None:
    for number in range(135):
        house.troubles.note(f"table_{number}", "no space")
        house.pass_seconds(0.001)
    house.troubles.note("later", "no space")
    house.pass_seconds(300.95)
    [(title, body)] = house.told()
    assert title == "Tradehouse mt5 on db1: 136 troubles"
    lines = body.splitlines()
    assert lines[:2] == [f"table_{number}: no space (since 2025-01-06 11:20 UTC)" for number in (0, 1)]
    assert (len(lines), lines[-1]) == (11, "and 126 more")
    house.troubles.clear(*[f"table_{number}" for number in range(11)])
    house.pass_seconds(1)
    [(title, body)] = house.told()
    assert (title, body.splitlines()[-1]) == ("Tradehouse mt5 on db1: 11 cleared", "and 1 more")


def test_a_message_fits_into_one_of_telegram(house: House) -> None:
    for number in range(20):
        house.troubles.note(f"table_{number}", "much " * 1000)
    house.pass_seconds(301)
    [(_, body)] = house.told()
    assert len(body) < 4096


def test_another_process_goes_on_from_the_record(house: House) -> None:
    house.troubles.note("GBPUSD", "no table")
    house.pass_seconds(200)
    second = restarted(house, house.recorded())
    second.troubles.note("GBPUSD", "no table")
    second.pass_seconds(101)
    assert second.told() == [CAME]
    third = restarted(second, second.recorded())
    third.troubles.note("GBPUSD", "no table")
    third.pass_seconds(1000)
    assert third.told() == []
    third.troubles.clear("GBPUSD")
    fourth = restarted(third, third.recorded())  # it ended before its end was told
    fourth.pass_seconds(1)
    assert [body for _, body in fourth.told()] == ["GBPUSD: cleared after 21 minutes"]
    assert fourth.recorded() == []


def test_what_is_only_on_record_is_not_told_before_it_is_seen(house: House) -> None:
    house.troubles.note("GBPUSD", "no table")
    second = restarted(house, house.recorded())
    second.pass_seconds(3600)
    assert (second.told(), second.troubles.due_at()) == ([], None)
    second.troubles.settle()
    second.pass_seconds(1)
    assert (second.told(), second.recorded()) == ([], [])


def test_what_was_told_and_is_not_seen_again_has_ended(house: House) -> None:
    house.troubles.note("GBPUSD", "no table")
    house.troubles.note("run", "away")
    house.pass_seconds(301)
    house.told()
    second = restarted(house, house.recorded())
    second.troubles.note("run", "away")
    second.troubles.settle()
    second.pass_seconds(1)
    assert [body for _, body in second.told()] == ["GBPUSD: cleared after 5 minutes"]


def test_a_trouble_seen_before_the_record_could_be_read_is_the_one_on_record(house: House) -> None:
    house.troubles.note("run", "away")
    house.pass_seconds(301)
    house.told()
    recorded = house.recorded()
    second = House(house.at)
    second.troubles.note("run", "away")
    second.pass_seconds(100)
    second.troubles.restore(recorded)
    second.pass_seconds(1000)
    assert second.told() == []
    [written] = second.recorded()
    assert (written.since, written.told_at) == (START, START + timedelta(seconds=301))


def test_a_message_that_nobody_has_taken_is_told_again_by_another_process(house: House) -> None:
    house.troubles.note("run", "away")
    house.pass_seconds(301)
    [message] = house.troubles.due_messages()
    assert isinstance(message, Message)
    second = restarted(house, house.recorded())
    second.troubles.note("run", "away")
    second.pass_seconds(1)
    assert [title for title, _ in second.told()] == ["Tradehouse mt5 on db1: trouble"]
    # the first receiver that takes it counts
    house.troubles.taken(message)
    house.pass_seconds(5)
    house.troubles.taken(message)
    [written] = house.recorded()
    assert written.told_at == START + timedelta(seconds=301)


def test_what_could_not_be_written_is_written_later(house: House) -> None:
    house.troubles.note("run", "away")
    taken = house.troubles.take_unwritten()
    assert (len(taken), house.troubles.is_unwritten) == (1, False)
    house.troubles.put_back(taken)
    assert house.troubles.take_unwritten() == taken


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *[(0, "0 seconds"), (1, "1 second"), (119, "119 seconds"), (120, "2 minutes"), (7199, "119 minutes")],
        *[(7200, "2 hours"), (172_799, "47 hours"), (172_800, "2 days"), (-5, "0 seconds")],
    ],
)
def test_durations(seconds: int, words: str) -> None:
    assert lasting(timedelta(seconds=seconds)) == words
