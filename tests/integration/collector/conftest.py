"""The collector's program, compiled once for all tests, and terminals to run it in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.mql5.terminal import Terminal, compiled, require_compiler, shared_directory

WEDNESDAY = 1_736_330_400  # 2025-01-08 10:00 UTC
SYMBOLS = "EURUSD:5:1.085,XAUUSD.pro:2:2640"


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where programs are compiled to."""
    require_compiler()
    return shared_directory(tmp_path_factory)


@pytest.fixture(scope="session")
def program(directory: Path) -> Path:
    """The collector as it stands in the repository."""
    return compiled(directory)


@pytest.fixture
def terminal_of(tmp_path: Path) -> Callable[[Path], Terminal]:
    """A terminal of two symbols for a program: 600 bars of history, ten minutes of a Wednesday, a server at UTC+2."""

    def terminal(program: Path) -> Terminal:
        times = {"start": WEDNESDAY, "stop": WEDNESDAY + 600, "begin": WEDNESDAY - 600 * 300}
        return Terminal(tmp_path / "terminal", program, {"symbols": SYMBOLS, "offsets": "0:120", **times})

    return terminal


@pytest.fixture
def terminal(terminal_of: Callable[[Path], Terminal], program: Path) -> Terminal:
    """A terminal with the collector in it."""
    return terminal_of(program)
