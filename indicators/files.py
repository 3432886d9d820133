"""The Parquet files between the stages: `pending` holds those to load, `archive` those that were."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import duckdb

from extract.duckdb_session import open_session
from extract.errors import SourceError
from extract.quoting import literal
from indicators.series import Mark

SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class Content:
    """What a file says of itself.

    Attributes:
        marks: how far each of its series is computed.
        rejects: candles that were left out, over `extract.rejects.REJECT_COLUMNS`.
        read_from: series -> the moment from which its candles were read, in microseconds since 1970.
    """

    marks: list[Mark]
    rejects: list[tuple[str, ...]] = field(default_factory=list)
    read_from: list[tuple[str, str]] = field(default_factory=list)

    def text(self) -> str:
        """As the file holds it."""
        return json.dumps(
            {"marks": [vars(mark) for mark in self.marks], "rejects": self.rejects, "read_from": self.read_from}
        )

    @classmethod
    def of(cls, text: str) -> Content:
        """Read it from a file's text."""
        found: dict[str, Any] = json.loads(text)
        return cls(
            [Mark(**mark) for mark in found["marks"]],
            [tuple(reject) for reject in found["rejects"]],
            [tuple(each) for each in found["read_from"]],
        )


class Files:
    """The directory of the files, made when it is first needed.

    Args:
        home: where the pipeline keeps its files.
    """

    def __init__(self, home: Path) -> None:
        self._pending = home / "indicators" / "pending"
        self._archive = home / "indicators" / "archive"

    def prepare(self) -> None:
        """Make the directories.

        Raises:
            SourceError: they cannot be made.
        """
        try:
            for directory in (self._pending, self._archive):
                directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SourceError(f"{error.filename} cannot be made: {error.strerror}") from None

    def pending(self) -> list[Path]:
        """The files to load, oldest first."""
        return sorted(self._pending.glob("*.parquet"))

    def names(self, count: int) -> list[Path]:
        """Paths for so many new files, later in order than all earlier ones."""
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%f")
        return [self._pending / f"{stamp}-{number:05}.parquet" for number in range(count)]

    def clear_parts(self) -> None:
        """Delete what a killed stage left half written."""
        for part in self._pending.glob("*.part"):
            part.unlink(missing_ok=True)

    def discard(self) -> None:
        """Delete the files to load."""
        for path in self.pending():
            path.unlink(missing_ok=True)

    def archive(self, path: Path) -> None:
        """Move a file that is loaded.

        Raises:
            SourceError: it cannot be moved.
        """
        _rename(path, self._archive / path.name)

    def put_aside(self, path: Path) -> None:
        """Rename a damaged file, so that its series are computed again.

        Raises:
            SourceError: it cannot be renamed.
        """
        _rename(path, path.with_suffix(".damaged"))

    def prune_archive(self, days: int) -> None:
        """Delete loaded files that were written more than so many days ago."""
        limit = time.time() - days * SECONDS_A_DAY
        for path in self._archive.glob("*.parquet"):
            if path.stat().st_mtime < limit:
                path.unlink(missing_ok=True)


def _rename(path: Path, target: Path) -> None:
    try:
        path.rename(target)
    except FileNotFoundError:
        return  # `compute --no-resume` has dropped it
    except OSError as error:
        raise SourceError(f"{path} cannot be renamed: {error.strerror}") from None


def content_of(path: Path, session: duckdb.DuckDBPyConnection | None = None) -> Content:
    """What a file says of itself.

    Raises:
        SourceError: it is damaged, or another kind of file.
    """
    try:
        [(text,)] = (
            (session or open_session())
            .execute(
                f"select decode(value) from parquet_kv_metadata({literal(str(path))}) where decode(key) = 'content'"
            )
            .fetchall()
        )
        return Content.of(text)
    except (duckdb.Error, ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{path.name} is damaged: {' '.join(str(error).split())[:200]}") from None


def contents(paths: Sequence[Path]) -> list[Content]:
    """What each of the files says of itself; damaged ones are left out, for the load says so."""
    session = open_session()
    found = []
    for path in paths:
        try:
            found.append(content_of(path, session))
        except SourceError:
            continue
    return found
