"""The candles' source: the SQLite file that a MetaTrader 5 collector writes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from tenacity import Retrying, retry_if_exception_type, stop_before_delay, wait_random_exponential

from extract.dbt_runner import TransformResult
from extract.duckdb_session import open_session
from extract.errors import SourceBusyError
from extract.run import RunContext
from extract.settings import Project, Settings
from extract.source import Outcome, Reading, Source
from extract.sources.mt5 import bars
from extract.sources.mt5.file import Extraction
from extract.sources.mt5.row_cap import settle_row_cap
from extract.sources.mt5.symbols import prune

LATEST = bars.LAST_TIMESTAMP - 1
OHLC = "ohlc"
"""The model of the candles made from all bars of a period."""


@dataclass(kw_only=True)
class Mt5Reading(Reading):
    """What was read from the file, by symbol."""

    extraction: Extraction


class Mt5Source(Source[Mt5Reading]):
    """Bars of every symbol, from one snapshot of the file.

    Args:
        settings: where the file is.
        project: the symbols and timeframes.

    Raises:
        SettingsError: SQLITE_PATH is not set.
    """

    name = bars.SOURCE

    def __init__(self, settings: Settings, project: Project) -> None:
        self.path = settings.require_sqlite_path()
        self._settings = settings
        self._project = project

    def read(self, run: RunContext) -> Mt5Reading:
        """Land each symbol's bars, starting `LOOKBACK_MINUTES` before its newest landed bar."""
        settle_row_cap(run.connection, self._settings.max_rows_per_table)
        newest = bars.watermarks(run.connection, self._project.symbols)
        lookback = self._settings.lookback_minutes * 60
        since = {symbol: None if mark is None else mark - lookback for symbol, mark in newest.items()}
        extraction = self.extract(run, since)
        if extraction.error is None:
            session = run.duckdb
            bars.compare(session, run.connection, extraction, since, self._project.timeframes.values())
            bars.land(session, run.record, extraction, since)
            bars.record(run.record, extraction)
        return _reading(extraction)

    def extract(self, run: RunContext, since: Mapping[str, int | None], until: int | None = None) -> Extraction:
        """Read bars as `bars.extract` does; if the file stays locked, return an extraction with an error."""
        retrying = Retrying(
            retry=retry_if_exception_type(SourceBusyError),
            wait=wait_random_exponential(multiplier=0.1, max=2.0),
            stop=stop_before_delay(max(0.0, run.deadline - time.monotonic())),
            reraise=True,
        )
        columns = self._project.columns
        try:
            extraction: Extraction = retrying(
                bars.extract, run.duckdb, self.path, columns, since, until, self._settings.max_value_bytes
            )
        except SourceBusyError as busy:
            return Extraction({}, columns, error=str(busy))
        return extraction

    def stale_models(self, reading: Mt5Reading) -> Sequence[str]:
        """The candle tables with a changed bar on their grid, and `ohlc` if any bar has changed."""
        return self.models_of(reading.extraction)

    def models_of(self, extraction: Extraction) -> list[str]:
        """The models that the changed bars of an extraction call for."""
        tables = [
            self._project.table(symbol, name)
            for symbol in self._project.symbols
            for name, minutes in self._project.timeframes.items()
            if (symbol, minutes) in extraction.changed_grids
        ]
        return [*tables, OHLC] if extraction.rows_changed else tables

    def after(self, run: RunContext, outcome: Outcome[Mt5Reading]) -> None:
        """Prune the symbols that have grown by a hundredth of what staging keeps; sometimes prune all.

        To find surplus bars Postgres has to count the whole table, so this is not done for every bar.
        """
        outcomes = outcome.reading.extraction.outcomes
        everything = run.record.tidies or not run.built.current or not run.built.clean
        grown = [
            symbol for symbol, each in outcomes.items() if each.rows_new * 100 >= self._settings.staging_rows_per_symbol
        ]
        self.prune(run, self._project.symbols if everything else grown, outcome.transform)

    def prune(self, run: RunContext, symbols: Iterable[str], transform: TransformResult) -> None:
        """Prune staging tables, except for symbols with a failed model, which may not have all bars yet."""
        behind = {*transform.failed, *transform.skipped}
        for symbol in symbols:
            if not behind & {*self._project.tables_of(symbol), OHLC}:
                prune(
                    run.connection,
                    bars.staging_table(symbol, self._project.columns),
                    self._settings.staging_rows_per_symbol,
                )


def _reading(extraction: Extraction) -> Mt5Reading:
    notes = [
        f"{symbol.upper()}: table {outcome.table} has no rows yet"
        for symbol, outcome in extraction.outcomes.items()
        if outcome.status == "empty"
    ]
    if extraction.ignored_tables:
        notes.append(f"ignored tables: {', '.join(extraction.ignored_tables)}")
    return Mt5Reading(
        extraction=extraction,
        parts=[symbol.upper() for symbol in extraction.outcomes],
        failed={
            symbol.upper(): outcome.error or outcome.status
            for symbol, outcome in extraction.outcomes.items()
            if not outcome.ok
        },
        error=extraction.error,
        notes=notes,
        rows_read=extraction.rows_read,
        rows_changed=extraction.rows_changed,
        rows_rejected=extraction.rejects,
    )


SETTINGS = Settings


def default_every(settings: Settings) -> float:
    """Seconds between the ticks of its service."""
    return settings.sync_interval_seconds


def create(settings: Settings, project: Project) -> Mt5Source:
    """The source of the settings.

    Raises:
        SettingsError: SQLITE_PATH is not set.
    """
    return Mt5Source(settings, project)


def check(settings: Settings, project: Project) -> Iterator[str]:
    """Open the file and say which symbols it has.

    Raises:
        SourceError: it cannot be read.
    """
    path = settings.require_sqlite_path()
    with closing(open_session("sqlite_scanner")) as session:
        extraction = bars.extract(
            session, path, project.columns, dict.fromkeys(project.symbols, LATEST), LATEST, settings.max_value_bytes
        )
    found = [symbol.upper() for symbol, outcome in extraction.outcomes.items() if outcome.ok]
    yield f"{path} can be read: {len(found)} of {len(project.symbols)} symbols have a table"
    yield from extraction.problems
