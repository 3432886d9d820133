"""Indicators of our own candles, landed in staging.indicator_values: compute -> Parquet -> load -> archive."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from extract.dbt_runner import Progress
from extract.errors import LockHeldError, SourceError
from extract.run import RunContext
from extract.schema import prepared
from extract.settings import Project, Settings, load
from extract.source import Outcome, Reading, Source
from extract.warehouse import Connection, Warehouse, holding_run_lock, open_warehouse, value
from indicators import pool
from indicators.files import Files, contents
from indicators.load import VALUES, Loader, land_scan, refresh_values
from indicators.plan import Plan, batches, find
from indicators.pool import Written
from indicators.settings import IndicatorsSettings

INSTRUMENT_TYPES = ("EQUITY", "INDEX", "FUTURES", "CE", "PE")
COMPUTE_LOCK = "indicators compute"


@dataclass(frozen=True)
class Options:
    """How to compute and load.

    Attributes:
        computes: whether to compute; else only the files that are there are loaded.
        workers: how many processes compute at once.
        types: instrument types to compute; empty for all.
        resume: go on where the last stage ended; else drop its files, and compute every series from its first candle.
        archive_days: how many days a loaded file is kept; None for ever.
    """

    computes: bool = True
    workers: int = 2
    types: tuple[str, ...] = ()
    resume: bool = True
    archive_days: int | None = 7


@dataclass
class Computed:
    """What a compute stage did.

    Attributes:
        failed: series of a batch -> why they were not computed.
    """

    series: int = 0
    candles: int = 0
    rows: int = 0
    files: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, written: Written) -> None:
        """Count a batch."""
        if written.error is not None:
            self.failed[_label(written)] = written.error
            return
        self.series += len(written.series)
        self.candles += written.candles
        self.rows += written.rows
        self.files += 1


def _label(written: Written) -> str:
    first, last = written.series[0], written.series[-1]
    names = [f"{each.instrument_id} {each.timeframe}" for each in (first, last)]
    return f"series {' to '.join(dict.fromkeys(names))}"


def compute(
    connection: Connection,
    warehouse: Warehouse,
    project: Project,
    files: Files,
    options: Options,
    progress: Progress,
    stop: threading.Event,
) -> Iterator[Plan | Written]:
    """Compute what has changed; yield the plan, then each batch when its file is there.

    Raises:
        LockHeldError: another process is computing.
        SourceError: there are no candles, or no place for files.
    """
    with holding_run_lock(connection, COMPUTE_LOCK):
        files.prepare()
        files.clear_parts()
        if not options.resume:
            files.discard()
        pending = {
            (mark.instrument_id, mark.timeframe) for content in contents(files.pending()) for mark in content.marks
        }
        plan = find(connection, options.types, pending, anew=not options.resume)
        yield plan
        parts = list(batches(plan.series))
        tasks = list(zip(files.names(len(parts)), parts, strict=True))
        start = pool.Start(warehouse.uri, project.indicator_types, plan.has_values)
        finished = 0
        progress("computing series", finished, len(plan.series))
        for written in pool.compute(tasks, start, options.workers, stop):
            finished += len(written.series)
            yield written
            progress("computing series", finished, len(plan.series))


class IndicatorsSource(Source[Reading]):
    """Indicators of the candles in market.candle_data.

    Args:
        project: has the list of columns.
    """

    name = "indicators"

    def __init__(self, project: Project, options: Options) -> None:
        self._project = project
        self._options = options

    def read(self, run: RunContext) -> Reading:
        """Load the files that are there, then compute what has changed and load each file as it comes.

        Raises:
            SourceError: there are no candles.
        """
        files = Files(run.settings.home)
        files.prepare()
        reading = Reading(parts=["indicators"], unit="candles")
        # what a run that broke off left in staging, and what a compute stage left in files, comes first: the next
        # computation goes on from the values in the table
        self._refresh(run, reading)
        loader = Loader(run.record, self._project)
        pending = files.pending() if self._options.resume or not self._options.computes else []
        for number, path in enumerate(pending):
            run.progress("loading files", number, len(pending))
            self._load(loader, files, path, reading)
        if pending:
            self._refresh(run, reading)
            loader.settled()
        if self._options.computes:
            self._compute(run, files, loader, reading)
        run.record.count(rows_read=reading.rows_read)
        if self._options.archive_days is not None:
            files.prune_archive(self._options.archive_days)
        return reading

    def stale_models(self, reading: Reading) -> Sequence[str]:
        """The table, where a row has changed."""
        return ["indicator_data"] if reading.rows_changed else []

    def after(self, run: RunContext, outcome: Outcome[Reading]) -> None:
        """Empty staging, if the table has been built of it just now."""
        if not outcome.transform.problems:
            refresh_values(run.connection)

    def _compute(self, run: RunContext, files: Files, loader: Loader, reading: Reading) -> None:
        computed = Computed()
        stages = compute(run.connection, run.warehouse, self._project, files, self._options, run.progress, run.stop)
        plan: Plan | None = None
        try:
            for each in stages:
                if isinstance(each, Plan):
                    plan = each
                    continue
                computed.add(each)
                if each.error is None:
                    self._load(loader, files, each.path, reading)
        except LockHeldError as held:
            reading.notes.append(f"nothing computed: {held}")
        reading.rows_read += computed.candles
        reading.failed.update(computed.failed)
        self._refresh(run, reading)
        if plan and plan.candles_until is not None and not reading.problems and computed.series == len(plan.series):
            land_scan(run.record, plan.scope, plan.candles_until)

    def _load(self, loader: Loader, files: Files, path: Path, reading: Reading) -> None:
        """Load a file and put it into the archive; a damaged one fails alone."""
        try:
            rows, rejects = loader.load(path)
        except SourceError as error:
            reading.failed[path.name] = f"{error}; its series are computed again"
            files.put_aside(path)
        else:
            reading.rows_changed += rows
            reading.rows_rejected += rejects
            files.archive(path)

    def _refresh(self, run: RunContext, reading: Reading) -> None:
        """Refresh the table where staging has rows for it; a failure shows again when the run refreshes its tables."""
        if value(run.connection, f"select exists (select from {VALUES})"):
            run.progress("refreshing market.indicator_data", None, None)
            refresh_values(run.connection)
            reading.rows_changed = max(reading.rows_changed, 1)


SETTINGS = IndicatorsSettings


def default_every(_: Settings) -> float:
    """Seconds between the ticks of its service."""
    return 60


def create(
    _: Settings,
    project: Project,
    *,
    computes: bool = True,
    workers: int | None = None,
    types: tuple[str, ...] = (),
    resume: bool = True,
    keep: bool = False,
) -> IndicatorsSource:
    """The source of the settings; the options are those of the command.

    Raises:
        SettingsError: a setting cannot work.
    """
    return IndicatorsSource(project, options(computes=computes, workers=workers, types=types, resume=resume, keep=keep))


def options(
    *,
    computes: bool = True,
    workers: int | None = None,
    types: tuple[str, ...] = (),
    resume: bool = True,
    keep: bool = False,
) -> Options:
    """What the command says, else what the settings say.

    Raises:
        SettingsError: a setting cannot work.
    """
    own = load(IndicatorsSettings)
    return Options(
        computes,
        workers or own.indicators_workers,
        types,
        resume,
        None if keep else own.indicators_archive_days,
    )


def check(settings: Settings, project: Project) -> Iterator[str]:
    """Count the series that would be computed.

    Raises:
        SourceError: there are no candles.
    """
    with prepared(settings, project, "indicators test") as connection:
        plan = find(connection, (), ())
    candles = sum(each.candles for each in plan.series)
    yield f"{len(plan.series):,} series have changed: {candles:,} candles"
    waiting = len(Files(settings.home).pending())
    yield f"{waiting:,} files wait to be loaded"


def compute_stage(
    settings: Settings, project: Project, chosen: Options, progress: Progress, stop: threading.Event
) -> Computed:
    """The compute stage alone: what has changed, as files. Writes nothing to the warehouse.

    Raises:
        LockHeldError: another process is computing.
        SourceError: there are no candles.
    """
    computed = Computed()
    warehouse = open_warehouse(settings)
    with prepared(settings, project, "indicators compute") as connection:
        for each in compute(connection, warehouse, project, Files(settings.home), chosen, progress, stop):
            if isinstance(each, Written):
                computed.add(each)
    return computed
