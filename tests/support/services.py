"""`tradehouse run` as a process of its own, watched by its log."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.launcher import Forked, launcher
from tests.support.world import World, clean_environment

NO_TESTS = ("--build-every", "0")
"""For a service of which only the ticks matter: a build with every test takes both cores for ten seconds."""
OTHER_SESSIONS = (
    "select count(*) from pg_stat_activity"
    " where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
)


def await_that(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait for a condition; fail with `what` was waited for when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"no {what} after {seconds} s"
        time.sleep(0.02)


def await_no_sessions(world: World) -> None:
    """Wait until the server has noticed that a process is gone; its lock goes with it."""
    await_that(lambda: world.query(OTHER_SESSIONS) == [(0,)], "end of the dead process's sessions")
    assert world.query("select count(*) from pg_locks where locktype = 'advisory'") == [(0,)]


@dataclass
class RunningService:
    """A `tradehouse run` process and what it has logged so far."""

    process: subprocess.Popen[bytes] | Forked
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def await_log(self, text: str, *, times: int = 1, seconds: float = 60) -> None:
        """Wait until the log holds the text so many times."""
        self.await_that(lambda: self.log.count(text) >= times, f"{text!r} x {times} in the log", seconds)

    def await_that(self, condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Wait for a condition while the service lives."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, f"no {what} after {seconds} s:\n{self.log}"
            time.sleep(0.05)

    def await_ticks(self, count: int = 1, seconds: float = 60) -> None:
        """Wait until so many more ticks have come to an end, well or not."""
        self.await_log(" rows read, ", times=self.log.count(" rows read, ") + count, seconds=seconds)

    def kill(self) -> None:
        """End it as the kernel's out-of-memory killer would."""
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        """Ask it to end and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def service(
    world: World,
    *arguments: str,
    group: Sequence[str] = (),
    program: Sequence[str | Path] | None = None,
    environment: Mapping[str, str] | None = None,
    name: str = "service",
) -> Iterator[RunningService]:
    """A running service with a tick every second, killed at the end if it has not ended by itself.

    Args:
        world: where it works.
        arguments: what follows `tradehouse run`.
        group: the source, as the command names it before `run`.
        program: what to start in an interpreter of its own; None forks the installed command.
        environment: variables beside the world's.
        name: of its log file.
    """
    log_file = world.directory / f"{name}.log"
    words = [*group, "run", "--every", "1", *arguments]
    variables = clean_environment(world.directory, {**world.environment, **(environment or {})})
    process: subprocess.Popen[bytes] | Forked
    with log_file.open("wb") as log:
        if program is None:
            process = launcher("tradehouse").start(words, variables, world.directory, (log, log))
        else:
            process = subprocess.Popen(
                [*program, *words], env=variables, cwd=world.directory, stdout=log, stderr=subprocess.STDOUT
            )
    running = RunningService(process, log_file)
    try:
        yield running
        assert "Traceback" not in running.log
    finally:
        if process.poll() is None:
            running.kill()
