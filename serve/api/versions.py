"""Versions of the tables behind an answer: an answer is good as long as they are what they were."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, timezone

from psycopg import sql

from extract.settings import Project
from serve.api.database import Database
from serve.api.single_flight import SingleFlight

LONGEST = 30.0
"""Seconds for which a version is believed without an announcement: the longest a missed one can matter."""
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
OHLC = "ohlc"
"""The table of the resampled candles."""
MARKET = "market"
"""Stands for the tables of the Indian market. Each has hundreds of partitions, so they have one version together."""
MARKET_MODELS = frozenset({"instrument_master", "candle_data", "indicator_data"})
PROJECT = "project"
"""Stands for the project's rules, as they were last built: they may change an answer without a new row. A build of all
models is announced without a list, and then everything is forgotten."""


class Versions:
    """Knows the newest `synced_at` of each table, in microseconds, and forgets it when the table is announced.

    Args:
        database: where the versions are looked up.
        project: the lists.
        clock: monotonic seconds.
    """

    def __init__(self, database: Database, project: Project, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[str, tuple[str, float]] = {}
        self._flights: SingleFlight[Mapping[str, str]] = SingleFlight()
        self._forgotten = 0
        self._lookups: dict[str, sql.SQL | sql.Composed] = {
            table: sql.SQL(
                "select {}, (select (extract(epoch from max(synced_at)) * 1000000)::bigint::text from {})"
            ).format(sql.Literal(table), sql.Identifier("public", table))
            for table in (*project.candle_tables, OHLC)
        }
        self._lookups[PROJECT] = sql.SQL(
            "select 'project', (select left(project_fingerprint, 12) from ops.sync_runs"
            " where project_fingerprint is not null order by run_id desc limit 1)"
        )
        self._lookups[MARKET] = sql.SQL("select 'market', (select api.market_version())")

    def known(self, tables: tuple[str, ...]) -> str | None:
        """The version of an answer from these tables, without asking the warehouse; None where that takes a look."""
        oldest = self._clock() - LONGEST
        found = []
        for table in (PROJECT, *tables):
            version, looked_up = self._known.get(table, ("", -LONGEST))
            if looked_up <= oldest:
                return None
            found.append(version)
        return "-".join(found)

    async def of(self, tables: tuple[str, ...]) -> str:
        """The version of an answer from these tables.

        Raises:
            UnavailableError: it has to be looked up and the warehouse is away.
        """
        known = self.known(tables)
        if known is not None:
            return known
        wanted = (PROJECT, *tables)
        # a look that began before an announcement may have read what was there before it
        key = f"{self._forgotten} {' '.join(wanted)}"
        found = await self._flights.run(key, lambda: self._look_up(wanted))
        return "-".join(found[table] for table in wanted)

    async def _look_up(self, tables: tuple[str, ...]) -> Mapping[str, str]:
        forgotten, now = self._forgotten, self._clock()
        statement = sql.SQL(" union all ").join([self._lookups[table] for table in tables])
        found = {name: version or "" for name, version in await self._database.rows(statement)}
        if forgotten == self._forgotten:
            self._known.update({table: (version, now) for table, version in found.items()})
        return found

    async def changed_since(self, moment: datetime, tables: Iterable[str]) -> tuple[list[str], datetime]:
        """Those of the tables that have rows newer than the moment, in their order, and how new the newest row is."""
        wanted = tuple(tables)
        found = await self._look_up(wanted)
        newest = {table: EPOCH + timedelta(microseconds=int(found[table] or 0)) for table in wanted}
        return [table for table in wanted if newest[table] > moment], max(newest.values())

    def forget(self, tables: Iterable[str] | None) -> None:
        """Look these tables up again before the next answer; None: all of them."""
        self._forgotten += 1
        if tables is None:
            self._known.clear()
            return
        for table in tables:
            self._known.pop(table, None)
