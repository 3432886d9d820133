"""The service tells people of its troubles: a real service, a real warehouse, real receivers on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.conftest import Server
from tests.support.collector import series
from tests.support.receiver import TOKEN, Post, Receiver
from tests.support.services import NO_TESTS, RunningService, service
from tests.support.world import World

MONDAY = 1_736_121_600  # 2025-01-06 00:00 UTC
NO_TABLE = "GBPUSD: the file has no table for this symbol (has its terminal started?)"
STATE = "select source, trouble, told_at is null, cleared_at is null, end_told_at is null from ops.alerts"
TOLD, ENDED = (False, True, True), (False, False, False)


@pytest.fixture
def receiver(world: World) -> Iterator[Receiver]:
    with Receiver() as receiver:
        world.settings |= {"ALERT_URLS": receiver.url, "ALERT_AFTER": "1", "LOG_LEVEL": "DEBUG"}
        yield receiver


def take_away(world: World) -> None:
    world.collector.execute("alter table GBPUSD rename to GBPUSD_away")


def bring_back(world: World) -> None:
    world.collector.execute("alter table GBPUSD_away rename to GBPUSD")


def await_posts(running: RunningService, receiver: Receiver, count: int) -> list[Post]:
    """Wait until so many messages have been taken; then these."""
    running.await_that(lambda: len(receiver.posts) >= count, f"post {count}")
    return receiver.posts


def await_state(running: RunningService, world: World, *states: tuple[bool, bool, bool]) -> None:
    wanted = [("mt5", "GBPUSD", *state) for state in states]
    running.await_that(lambda: world.query(f"{STATE} where trouble = 'GBPUSD' order by since") == wanted, f"{wanted}")


def end(running: RunningService) -> None:
    assert running.end() == 0
    assert TOKEN not in running.log


def test_a_trouble_is_told_once_when_it_comes_and_once_when_it_goes(world: World, receiver: Receiver) -> None:
    with service(world, *NO_TESTS) as running:
        running.await_ticks()
        for time in (1, 2):
            take_away(world)
            [*_, came] = await_posts(running, receiver, 2 * time - 1)
            assert came.title.startswith("Tradehouse mt5 on ")
            assert came.title.endswith(": trouble")
            assert came.body.startswith(f"{NO_TABLE} (since ")
            assert came.type == "warning"
            await_state(running, world, *[ENDED] * (time - 1), TOLD)
            running.await_ticks(3)
            bring_back(world)
            [*_, went] = await_posts(running, receiver, 2 * time)
            assert went.title.endswith(": cleared")
            assert went.body.startswith("GBPUSD: cleared after ")
            assert went.type == "success"
            await_state(running, world, *[ENDED] * time)
        running.await_ticks(3)
        end(running)
    assert receiver.tries == 4


@pytest.mark.only_on("embedded")
def test_a_shorter_trouble_is_told_never(world: World, receiver: Receiver) -> None:
    world.settings["ALERT_AFTER"] = "3600"
    with service(world, *NO_TESTS) as running:
        running.await_ticks()
        take_away(world)
        running.await_that(lambda: len(world.query(STATE)) == 1, "record")
        bring_back(world)
        running.await_that(lambda: world.query(STATE) == [], "end of the record")
        running.await_ticks(2)
        end(running)
    assert receiver.tries == 0


@pytest.mark.only_on("embedded")
def test_a_service_that_is_killed_tells_nothing_twice_and_forgets_no_end(world: World, receiver: Receiver) -> None:
    take_away(world)
    with service(world, *NO_TESTS, name="first") as running:
        await_posts(running, receiver, 1)
        await_state(running, world, TOLD)
        running.kill()
    with service(world, *NO_TESTS, name="second") as running:
        running.await_log(NO_TABLE)
        running.await_ticks(4)
        assert len(receiver.posts) == 1
        running.kill()
    bring_back(world)
    # what nobody looks at any more, such as a symbol that is no longer listed
    world.execute(
        "insert into ops.alerts (source, trouble, since, reason, told_at)"
        " values ('mt5', 'EURDEM', now() - interval '2 days', 'no table', now()),"
        " ('bybit', 'linear', now() - interval '2 days', 'no answer', now())"
    )
    with service(world, *NO_TESTS, name="third") as running:
        eurdem, gbpusd = sorted(await_posts(running, receiver, 2)[1].body.splitlines())
        assert eurdem == "EURDEM: cleared after 2 days"
        assert gbpusd.startswith("GBPUSD: cleared after ")
        await_state(running, world, ENDED)
        end(running)
    assert world.query(f"{STATE} where trouble = 'linear'") == [("bybit", "linear", *TOLD)]
    assert receiver.tries == 2


@pytest.mark.only_on("embedded")
def test_a_failed_test_on_record_ends_only_when_the_tests_have_run(world: World, receiver: Receiver) -> None:
    world.collector.write("EURUSD", series(MONDAY, 3))
    world.sync()
    world.execute(
        "insert into ops.alerts (source, trouble, since, reason, told_at)"
        " values ('mt5', 'assert_something', now() - interval '1 day', '1 row', now())"
    )
    with service(world) as running:
        running.await_log("tests passed", seconds=180)
        assert await_posts(running, receiver, 1)[0].body == "assert_something: cleared after 24 hours"
        end(running)
    assert world.query("select cleared_at >= finished_at from ops.alerts, ops.sync_runs where command = 'build'") == [
        (True,)
    ]


@pytest.mark.only_on("embedded")
def test_a_warehouse_that_is_away_is_told_and_written_down_later(
    world: World, receiver: Receiver, server: Server
) -> None:
    with service(world, *NO_TESTS) as running:
        running.await_ticks()
        server.kill()
        try:
            [came] = await_posts(running, receiver, 1)
            assert came.body.startswith("run: ")
        finally:
            server.start_again()
        [_, went] = await_posts(running, receiver, 2)
        assert went.body.startswith("run: cleared after ")
        running.await_that(lambda: world.query(STATE) == [("mt5", "run", *ENDED)], "record")
        end(running)
    assert receiver.tries == 2


@pytest.mark.only_on("embedded")
@pytest.mark.parametrize("fault", ["down", "status 500", "hangs"])
def test_a_receiver_that_fails_at_first_gets_all_and_the_other_nothing_twice(
    world: World, receiver: Receiver, fault: str
) -> None:
    with ExitStack() as stack:
        faulty = stack.enter_context(Receiver(started=fault != "down"))
        if fault == "status 500":
            faulty.status = 500
        faulty.hangs = fault == "hangs"
        world.settings["ALERT_URLS"] = f"{faulty.url}, {receiver.url}"
        running = stack.enter_context(service(world, *NO_TESTS))
        running.await_ticks()
        take_away(world)
        expected = "answered with status 500" if fault == "status 500" else "cannot be reached, or does not answer"
        running.await_log(f"ERROR alert URL 1: {expected}")
        await_posts(running, receiver, 1)
        bring_back(world)
        await_posts(running, receiver, 2)
        if fault != "down":
            running.await_that(lambda: faulty.tries > 1, "second try")
        running.await_ticks(2)  # no tick waits for a receiver
        assert faulty.posts == []
        if fault == "down":
            faulty.start()
        faulty.status, faulty.hangs = 200, False
        await_posts(running, faulty, 2)
        running.await_log("alert URL 1: cleared")
        end(running)
        assert faulty.posts == receiver.posts
        assert receiver.tries == 2
        assert running.log.count("ERROR alert URL") == 1
        assert [post.type for post in receiver.posts] == ["warning", "success"]


@pytest.mark.only_on("embedded")
def test_a_message_that_nobody_took_is_sent_by_the_next_process(world: World) -> None:
    with Receiver(started=False) as receiver:
        world.settings |= {"ALERT_URLS": receiver.url, "ALERT_AFTER": "1"}
        with service(world, *NO_TESTS, name="first") as running:
            running.await_ticks()
            take_away(world)
            running.await_log("alert URL 1: cannot be reached")
            assert running.end() == 0
            assert "alert URL 1: 1 messages were not taken" in running.log
        receiver.start()
        with service(world, *NO_TESTS, name="second") as running:
            assert await_posts(running, receiver, 1)[0].body.startswith(NO_TABLE)
            end(running)
        assert receiver.tries == 1


@pytest.mark.only_on("embedded")
def test_a_record_that_cannot_be_written_is_a_trouble_and_stops_no_alert(world: World, receiver: Receiver) -> None:
    world.sync()
    world.execute("alter table ops.alerts add constraint no_more check (false)")
    with service(world, *NO_TESTS) as running:
        take_away(world)
        running.await_log("alerts: ops.alerts cannot be written: ")
        running.await_that(lambda: any(NO_TABLE in post.body for post in receiver.posts), "post")
        running.await_that(lambda: any("ops.alerts" in post.body for post in receiver.posts), "post of the record")
        world.execute("alter table ops.alerts drop constraint no_more")
        running.await_log("alerts: cleared")
        await_state(running, world, TOLD)
        end(running)


def in_one_line(world: World, *arguments: str) -> str:
    done = world.run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert TOKEN not in done.stderr
    assert "Traceback" not in done.stderr
    return line


@pytest.mark.only_on("embedded")
@pytest.mark.parametrize("command", [("run",), ("alerts", "test")])
def test_a_url_that_cannot_be_read_is_named_by_its_place(
    world: World, receiver: Receiver, command: tuple[str, ...]
) -> None:
    for urls, wrong in {
        f"{receiver.url} tgram://{TOKEN}, {receiver.url}": "URL 2 of 3",
        f"{TOKEN},{receiver.url}": "URL 1 of 2",
        TOKEN: "URL 1 of 1",
        "  ": "URL 1 of 1",
    }.items():
        world.settings["ALERT_URLS"] = urls
        assert in_one_line(world, *command) == f"error: ALERT_URLS: {wrong}: Apprise cannot read it"
    assert receiver.tries == 0


@pytest.mark.only_on("embedded")
def test_the_command_tries_every_url(world: World, receiver: Receiver) -> None:
    done = world.run("alerts", "test")
    assert (done.returncode, done.stdout) == (0, "URL 1 of 1: taken\n")
    [post] = receiver.posts
    assert (post.title.split(" on ")[0], post.body) == ("Tradehouse", "Alerts of the services will come here.")
    with Receiver() as broken:
        broken.status = 503
        world.settings["ALERT_URLS"] = f"{receiver.url} {broken.url}"
        done = world.run("alerts", "test")
        assert (done.returncode, done.stdout) == (1, "URL 1 of 2: taken\n")
        assert done.stderr == "URL 2 of 2: answered with status 503\n"
        assert (len(receiver.posts), broken.tries) == (2, 1)
    del world.settings["ALERT_URLS"]
    assert in_one_line(world, "alerts", "test").startswith("error: ALERT_URLS is not set")
