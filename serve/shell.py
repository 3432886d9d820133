"""The read-evaluate-print loop behind `tradehouse shell`."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import TextIO

from extract.errors import QueryError
from serve.inspection import TABLES, Inspection
from serve.named_queries import named_queries, query_text
from serve.rendering import write_rows

SHELL_HELP = (
    "SQL ends with ; and may span lines. @name runs a named query, .queries lists them, .tables lists tables, "
    ".quit or Ctrl-D leaves."
)


class Shell:
    """Reads statements from a terminal or a pipe and prints their results as tables; `failures` counts errors."""

    def __init__(self, inspection: Inspection, source: TextIO, target: TextIO, errors: TextIO) -> None:
        self._inspection = inspection
        self._source = source
        self._target = target
        self._errors = errors
        self._interactive = source.isatty()
        self.failures = 0

    def loop(self) -> None:
        """Read and run until `.quit` or the end of the input."""
        if self._interactive:
            with suppress(ImportError):  # Windows has no readline; lines cannot be edited there
                import readline  # noqa: F401
            print(SHELL_HELP, file=self._target)
        pending = ""
        while True:
            try:
                line = self._line("    ...> " if pending else "tradehouse> ")
            except KeyboardInterrupt:
                print(file=self._target)
                pending = ""
                continue
            if line is None or (not pending and line.strip() in {".quit", ".exit"}):
                break
            pending = self._take(pending, line)
        if pending.strip():
            self._run(pending)

    def _line(self, prompt: str) -> str | None:
        if not self._interactive:
            return self._source.readline() or None
        try:
            return input(prompt) + "\n"
        except EOFError:
            print(file=self._target)
            return None

    def _take(self, pending: str, line: str) -> str:
        """Run the statement if this line completes it; return the text still incomplete."""
        if not pending and line.lstrip().startswith((".", "@")):
            self._command(line.strip())
            return ""
        text = pending + line if pending or line.strip() else ""
        if not sqlite3.complete_statement(text):
            return text
        self._run(text)
        return ""

    def _command(self, word: str) -> None:
        if word == ".tables":
            self._run(TABLES)
        elif word == ".queries":
            for query in named_queries().values():
                print(f"@{query.name}: {query.question}", file=self._target)
        elif word.startswith("@"):
            self._run(word)
        else:
            print(SHELL_HELP, file=self._target)

    def _run(self, text: str) -> None:
        try:
            for statement in self._inspection.statements(query_text(text)):
                for hint in self._inspection.hints(statement):
                    print(f"note: {hint}", file=self._errors)
                write_rows(self._inspection.run(statement), "table", self._target)
        except QueryError as error:
            self.failures += 1
            print(f"error: {error}", file=self._errors)
        except KeyboardInterrupt:
            print("interrupted", file=self._errors)
        self._target.flush()
