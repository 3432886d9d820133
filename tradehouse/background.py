"""A `tradehouse serve` that goes on behind the shell, known by a file in TRADEHOUSE_HOME."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from extract.errors import TradehouseError

START_SECONDS = 30.0
END_SECONDS = 15.0
LISTENING = re.compile(r"^listening on (\S+)$", re.MULTILINE)


class BackgroundError(TradehouseError):
    """The server did not start, or does not end; the message says why."""


def start(home: Path, arguments: Sequence[str]) -> str:
    """Start `tradehouse serve` with these arguments, wait until it listens, and return its address.

    If one is running already, return the address of that one.

    Raises:
        BackgroundError: it ended at once, or does not listen after `START_SECONDS`.
    """
    running = _running(home)
    if running is not None:
        return running[1]
    log_file = home / "serve.log"
    try:
        home.mkdir(parents=True, exist_ok=True)
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tradehouse.main", "serve", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    except OSError as error:
        raise BackgroundError(f"TRADEHOUSE_HOME: {log_file} cannot be written: {error.strerror}") from None
    deadline = time.monotonic() + START_SECONDS
    while True:
        text = log_file.read_text(errors="replace")
        found = LISTENING.search(text)
        if found:
            content = {"pid": process.pid, "started": psutil.Process(process.pid).create_time(), "address": found[1]}
            _file(home).write_text(json.dumps(content))
            return found[1]
        if process.poll() is not None:
            last = (text.strip().splitlines() or ["it ended without a word"])[-1]
            raise BackgroundError(last.removeprefix("error: "))
        if time.monotonic() > deadline:
            process.kill()
            raise BackgroundError(f"it does not listen after {START_SECONDS:.0f} s; {log_file} may say why")
        time.sleep(0.05)


def stop(home: Path) -> bool:
    """End the server that `start` started; False if none is running.

    Raises:
        BackgroundError: it is still there after `END_SECONDS`.
    """
    running = _running(home)
    if running is None:
        return False
    process, _ = running
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_SECONDS)
        except psutil.TimeoutExpired:
            raise BackgroundError(f"process {process.pid} does not end; end it with kill -9") from None
    _file(home).unlink(missing_ok=True)
    return True


def _running(home: Path) -> tuple[psutil.Process, str] | None:
    """The process and its address; None if it is gone, or if its id is another process's by now."""
    try:
        content = json.loads(_file(home).read_text())
        process = psutil.Process(content["pid"])
        if process.create_time() == content["started"] and process.status() != psutil.STATUS_ZOMBIE:
            return process, content["address"]
    except (OSError, ValueError, KeyError, psutil.Error):
        pass
    return None


def _file(home: Path) -> Path:
    return home / "serve.json"
