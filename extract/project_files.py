"""The project's own files: their digest and SQL, read again only after a change on disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from extract.settings import ROOT, SQL

# The files that decide what the tables hold: a change there calls for a full build. No other file matters.
FOLDERS = ("dbt_project/models", "dbt_project/seeds", "dbt_project/functions", "macros", "sql/staging")
FILES = ("dbt_project/dbt_project.yml", "sql/warehouse.sql", "sql/partitions.sql")
# What makes the schemas, in this order; staging follows.
SCHEMA_FILES = (SQL / "warehouse.sql", SQL / "partitions.sql", SQL / "api_keys.sql")

Signature = tuple[tuple[str, int, int], ...]  # path, time of change in nanoseconds, size


def project_fingerprint() -> str:
    """A digest of all files that decide what the tables hold. Equal digests mean equal tables for equal data."""
    return _digest(_signature(*(ROOT / name for name in (*FOLDERS, *FILES))))


def schema_script() -> str:
    """The SQL that makes schemas, records and staging: the files of `SCHEMA_FILES`, then `staging/*.sql`."""
    return _text(_signature(*SCHEMA_FILES, SQL / "staging"))


def _signature(*places: Path) -> Signature:
    """Path, time and size of each file, to see whether any has changed: reading all files each tick takes too long."""
    return tuple(sorted(entry for place in places for entry in _files(place)))


def _files(place: Path | str) -> Iterator[tuple[str, int, int]]:
    try:
        found = os.stat(place)  # noqa: PTH116 - os.scandir's strings are faster, and this runs in every tick
    except OSError:
        return  # a missing folder has no files
    if not os.path.isdir(place):  # noqa: PTH112
        yield os.fspath(place), found.st_mtime_ns, found.st_size
        return
    with os.scandir(place) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _files(entry.path)
            else:
                about = entry.stat()
                yield entry.path, about.st_mtime_ns, about.st_size


@lru_cache(maxsize=1)
def _digest(signature: Signature) -> str:
    digest = hashlib.sha256()
    for path, _, _ in signature:
        digest.update(path.removeprefix(str(ROOT)).encode() + b"\0" + Path(path).read_bytes() + b"\0")
    return digest.hexdigest()


@lru_cache(maxsize=1)
def _text(signature: Signature) -> str:
    order = {path: place for place, path in enumerate(SCHEMA_FILES)}
    places = sorted((Path(path) for path, _, _ in signature), key=lambda path: (order.get(path, len(order)), path))
    return "\n".join(path.read_text(encoding="utf-8") for path in places)
