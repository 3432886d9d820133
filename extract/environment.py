"""Finds variables that look like settings but are not: a mistyped name would otherwise be ignored silently."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

COMMON_WORDS = {"LOG", "MAX", "DBT", "SYNC", "LOOKBACK", "STAGING", "API", "REDIS"}
"""First words of our settings with which variables of other programs begin too."""
ADDRESSES = {f"{first}_{last}" for first in ("POSTGRES", "PG", "DATABASE", "DB") for last in ("URI", "URL", "DSN")}
"""Other programs' names for the address of a database."""
FOREIGN = {"SQLITE_HISTORY", "SQLITE_TMPDIR"}
ALIKE = 0.85  # a name with at least this difflib ratio counts as mistyped


def lookalikes(environment: Mapping[str, str], settings: Iterable[str]) -> list[str]:
    """Names of variables that look like our settings but are not, sorted.

    Such a name begins like one of ours (SQLITE_FILE, BYBIT_KEY), is one of ours mistyped (DBT_THREAD), or is another
    program's name for the address of a database (DATABASE_URL) while POSTGRESQL_URI is not set.

    Args:
        environment: names and values, of the process and of `.env`; an empty value counts as unset.
        settings: names of all settings, in any case.
    """
    known = {name.upper() for name in settings}
    beginnings = tuple(f"{word}_" for word in {name.split("_")[0] for name in known} - COMMON_WORDS)
    given = {name: name.upper() for name, value in environment.items() if value}

    def is_alike(name: str) -> bool:
        if name in known | FOREIGN:
            return False
        if name in ADDRESSES:
            return "POSTGRESQL_URI" not in given.values()
        return name.startswith(beginnings) or bool(difflib.get_close_matches(name, known, n=1, cutoff=ALIKE))

    return sorted(name for name, upper in given.items() if is_alike(upper))
