"""Compiles the collector's MQL5 sources against the stand-in terminal and runs them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.mql5.convert import convert_tree

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
SOURCES = ROOT / "collector" / "mql5"
PARTS = ("terminal", "market", "sqlite")
FLAGS = ("-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{HERE}")
TIMEOUT = 300

INDICATORS = {
    "fractals": "Fractal Horizontal Line_V5",
    "diagonals": "Fractal Diagonal Line_V4",
    "momentum": "Body Size Momentum Candle_V2",
    "keltner": "Keltner Channel_ATF_10 Bands",
    "averages": "TEMA_HRMA_SMA-SMMA_Modified Buffers",
    "zigzag": "ZigZagColor & MarketStructure_JSON Export_V27_TXT Input",
}

Change = Callable[[str], str]


def require_compiler() -> None:
    """Skip the test where the sources cannot be compiled."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed (Debian: g++)")
    found = subprocess.run(
        ["g++", "-E", "-x", "c++", "-"], input="#include <sqlite3.h>\n", capture_output=True, text=True, check=False
    )
    if found.returncode:
        pytest.skip("sqlite3.h is not installed (Debian: libsqlite3-dev)")


def shared_directory(factory: pytest.TempPathFactory) -> Path:
    """Where all workers of this run of pytest share what they compile."""
    base = factory.getbasetemp()
    directory = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "compiled-collector"
    directory.mkdir(exist_ok=True)
    return directory


def compiled(directory: Path, changes: Mapping[str, Change] | None = None) -> Path:
    """The program made of the sources, or of a copy with some files changed; each is compiled once.

    Args:
        directory: where the objects and the programs of this run of pytest are.
        changes: a file's name -> what makes its changed text.
    """
    tree = {path.relative_to(SOURCES): path.read_text(encoding="ascii") for path in sorted(SOURCES.rglob("*.mq[5h]"))}
    for path, text in tree.items():
        if changes and path.name in changes:
            tree[path] = changes[path.name](text)
            assert tree[path] != text, f"{path.name}: nothing has changed"
    place = directory / hashlib.sha256(repr(sorted(tree.items())).encode()).hexdigest()[:16]
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for part in PARTS:
            if not (target := directory / f"{part}.o").exists():
                _compile("-c", str(HERE / f"{part}.cpp"), "-o", str(target))
        if not (program := place / "collector").exists():
            for path, text in tree.items():
                (place / "mql5" / path).parent.mkdir(parents=True, exist_ok=True)
                (place / "mql5" / path).write_text(text, encoding="ascii")
            convert_tree(place / "mql5", place)
            objects = [str(directory / f"{part}.o") for part in PARTS]
            _compile(f"-I{place}", str(HERE / "driver.cpp"), *objects, "-lsqlite3", "-o", str(program))
    return program


def _compile(*arguments: str) -> None:
    done = subprocess.run(["g++", *FLAGS, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@dataclass
class Terminal:
    """One terminal: its folder, the program, and the scenario that each run changes.

    Attributes:
        directory: has `common` (the folder all terminals share) and `files` (the terminal's own).
        program: what `compiled` made.
        scenario: `key=value` of the stand-in; `input.NAME` is an input of the service.
    """

    directory: Path
    program: Path
    scenario: dict[str, object] = field(default_factory=dict)
    common: Path | None = None

    def __post_init__(self) -> None:
        self.directory.mkdir(exist_ok=True)
        self.common = self.common or self.directory / "common"
        for folder in (self.common, self.directory / "files"):
            folder.mkdir(exist_ok=True)

    @property
    def file(self) -> Path:
        """The SQLite file, where the service writes it by default."""
        assert self.common is not None
        return self.common / "trading_data.db"

    @property
    def dump(self) -> Path:
        """The market as it was when the service committed last."""
        return self.directory / "market.txt"

    def run(self, code: int = 0, /, **settings: object) -> str:
        """Run the service until the scenario's stop, demand its exit code, and return the journal."""
        running = self.start(**settings)
        journal, _ = running.communicate(timeout=TIMEOUT)
        assert running.returncode == code, journal
        return journal

    def start(self, **settings: object) -> subprocess.Popen[str]:
        """Start the service, and do not wait for it."""
        return subprocess.Popen(
            [self.program, "run"],
            env=self._environment(settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ask(self, task: str, lines: Sequence[object], **settings: object) -> list[str]:
        """What one of the program's functions makes of each line."""
        done = subprocess.run(
            [self.program, task],
            env=self._environment(settings),
            input="".join(f"{line}\n" for line in lines),
            capture_output=True,
            text=True,
            check=True,
            timeout=TIMEOUT,
        )
        return done.stdout.splitlines()[-len(lines) :]  # the journal comes before

    def _environment(self, settings: Mapping[str, object]) -> dict[str, str]:
        places = {"common": self.common, "files": self.directory / "files", "dump": self.dump}
        scenario = {**places, **self.scenario, **{key.replace("input_", "input."): settings[key] for key in settings}}
        path = self.directory / "scenario.txt"
        path.write_text("".join(f"{key}={value}\n" for key, value in scenario.items()))
        return {"SCENARIO": str(path), "PATH": os.environ["PATH"]}
