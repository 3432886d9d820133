"""How commands show that they are at work."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tradehouse import output


@pytest.mark.parametrize("is_terminal", [True, False], ids=["terminal", "log"])
def test_progress_is_a_bar_on_a_terminal_and_a_line_per_step_elsewhere(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    written = io.StringIO()
    monkeypatch.setattr(output, "err", Console(file=written, force_terminal=is_terminal, width=100))
    with output.progress() as report:
        for done in (0, 1, 2):
            report("reading linear", done, 4)
        report("landing", None, None)
        report("reading linear", 3, 4)
    if is_terminal:
        assert "reading linear" in written.getvalue()
        assert "3/4" in written.getvalue()
        assert "━" in written.getvalue()
    else:
        assert written.getvalue() == "reading linear (4) …\nlanding …\n"
