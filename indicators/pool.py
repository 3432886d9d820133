"""Worker processes: each takes a batch, writes its file, and takes the next."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indicators.series import Series


@dataclass(frozen=True)
class Written:
    """A batch that is done, or failed.

    Attributes:
        path: its file; there is none after an error.
        candles: how many candles were read.
        rows: how many rows the file has.
        error: why it failed, in one line; None if it did not.
    """

    path: Path
    series: Sequence[Series]
    candles: int = 0
    rows: int = 0
    error: str | None = None


@dataclass(frozen=True)
class Start:
    """What a worker needs to know: the warehouse, the columns, and whether there are values to compare with."""

    uri: str
    types: Mapping[str, str]
    has_values: bool

    def line(self) -> str:
        """As the worker reads it."""
        return json.dumps({"uri": self.uri, "types": dict(self.types), "has_values": self.has_values}) + "\n"


def compute(
    tasks: Sequence[tuple[Path, Sequence[Series]]], start: Start, workers: int, stop: threading.Event
) -> Iterator[Written]:
    """Compute the batches and yield each when its file is there, in any order.

    Args:
        tasks: file to write, series in it.
        start: what each worker needs to know.
        workers: how many processes.
        stop: when set, no further batch is begun.
    """
    waiting: queue.SimpleQueue[tuple[Path, Sequence[Series]]] = queue.SimpleQueue()
    done: queue.SimpleQueue[Written | None] = queue.SimpleQueue()  # None: a thread has ended
    for task in tasks:
        waiting.put(task)
    ended = threading.Event()
    count = min(workers, len(tasks))
    lanes = [_Lane(start, waiting, done, stop, ended) for _ in range(count)]
    for lane in lanes:
        lane.start()
    try:
        while count:
            written = done.get()
            if written is None:
                count -= 1
            else:
                yield written
    finally:
        ended.set()
        for lane in lanes:
            lane.end()


class _Lane(threading.Thread):
    """One worker process at a time; after a crash the next batch gets a new one."""

    def __init__(
        self,
        start: Start,
        waiting: queue.SimpleQueue[tuple[Path, Sequence[Series]]],
        done: queue.SimpleQueue[Written | None],
        *stops: threading.Event,
    ) -> None:
        super().__init__(daemon=True)
        self._start = start
        self._waiting = waiting
        self._done = done
        self._stops = stops
        self._process: subprocess.Popen[str] | None = None

    def run(self) -> None:
        """Work until there is nothing left, or it is time to stop."""
        try:
            while not any(stop.is_set() for stop in self._stops):
                try:
                    path, series = self._waiting.get_nowait()
                except queue.Empty:
                    break
                self._done.put(self._write(path, series))
        finally:
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.close()  # the worker ends
            self._done.put(None)

    def end(self) -> None:
        """End the process, if it still works, and wait for it."""
        if self._process is not None:
            if self._process.poll() is None and self.is_alive():
                self._process.kill()
            self.join()
            self._process.wait()

    def _write(self, path: Path, series: Sequence[Series]) -> Written:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "indicators.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            self._say(self._start.line())
        task: dict[str, Any] = {"path": str(path), "series": [each.as_dict() for each in series]}
        self._say(json.dumps(task) + "\n")
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            return Written(path, series, error=f"a worker ended with code {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:  # its connection may be lost: the next batch gets a new worker
            self._process.kill()
            self._process.wait()
        return Written(path, series, answer.get("candles", 0), answer.get("rows", 0), answer.get("error"))

    def _say(self, line: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, which the missing answer shows
