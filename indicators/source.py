"""Indicators of our own candles, landed in staging.indicator_values: compute -> Parquet -> load -> archive."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from extract.dbt_runner import Dbt, Progress
from extract.errors import LockHeldError, SourceError
from extract.run import RunContext
from extract.schema import prepared
from extract.settings import Project, Settings, load
from extract.source import Reading, Source
from extract.warehouse import Connection, Warehouse, holding_run_lock, open_warehouse
from indicators import pool
from indicators.files import Files, contents
from indicators.load import Loader, RefreshError, land_scan
from indicators.plan import Plan, batches, find
from indicators.pool import Written
from indicators.settings import IndicatorsSettings

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
) -> Generator[Plan | Written]:
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
        plan = find(connection, project.market_timeframes, options.types, pending, anew=not options.resume)
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
            SourceError: there are no candles, or the table cannot be built.
        """
        files = Files(run.settings.home)
        files.prepare()
        reading = Reading(parts=["indicators"], unit="candles")
        loading = _Loading(run, self._project, files, reading)
        if self._options.resume or not self._options.computes:
            pending = files.pending()
            for number, path in enumerate(pending):
                run.progress("loading files", number, len(pending))
                loading.load(path)
        if self._options.computes:
            self._compute(run, files, loading)
        run.record.count(rows_read=reading.rows_read)
        if self._options.archive_days is not None:
            files.prune_archive(self._options.archive_days)
        return reading

    def stale_models(self, reading: Reading) -> Sequence[str]:
        """The table, where a row has changed: the run says so to those that listen."""
        return ["indicator_data"] if reading.rows_changed else []

    def _compute(self, run: RunContext, files: Files, loading: _Loading) -> None:
        """Compute what has changed, and load each file while the next ones are computed."""
        reading, computed = loading.reading, Computed()
        plan: Plan | None = None
        try:
            with closing(
                compute(run.connection, run.warehouse, self._project, files, self._options, run.progress, run.stop)
            ) as stages:
                for each in stages:
                    if isinstance(each, Plan):
                        plan = each
                        continue
                    computed.add(each)
                    if each.error is None:
                        loading.load(each.path)
        except LockHeldError as held:
            reading.notes.append(f"nothing computed: {held}")
        reading.rows_read += computed.candles
        reading.failed.update(computed.failed)
        if plan and plan.candles_until is not None and not reading.failed and computed.series == len(plan.series):
            land_scan(run.record, plan.scope, plan.candles_until)


class _Loading:
    """Loads files one by one, and notes what comes of it in the reading."""

    def __init__(self, run: RunContext, project: Project, files: Files, reading: Reading) -> None:
        self.reading = reading
        self._run = run
        self._project = project
        self._files = files
        self._loader: Loader | None = None

    def load(self, path: Path) -> None:
        """Load a file and put it into the archive; one that cannot be loaded fails alone.

        Raises:
            SourceError: the table is not there and cannot be built.
        """
        if self._loader is None:
            self._require_table()
            self._loader = Loader(self._run.record, self._project)
        try:
            rows, rejects = self._loader.load(path)
        except RefreshError as error:
            self.reading.failed[path.name] = f"{error}; the next run loads it"
        except SourceError as error:
            self.reading.failed[path.name] = f"{error}; its series are computed again"
            self._files.put_aside(path)
        else:
            self.reading.rows_changed += rows
            self.reading.rows_rejected += rejects
            self._files.archive(path)

    def _require_table(self) -> None:
        """Have dbt build the table, where it is not as the project's files say. Batches are computed meanwhile."""
        run = self._run
        if run.built.current:
            return
        # a directory of its own: the run has started dbt on all models already
        dbt = Dbt(run.settings, run.warehouse, IndicatorsSource.name, "dbt-indicators-table")
        built = dbt.run("run", "--select", "stg_indicators__values", "indicator_data", progress=run.progress)
        if built.problems:
            raise SourceError(f"market.indicator_data cannot be built: {'; '.join(built.problems)}")


SETTINGS = IndicatorsSettings


def default_every(_: Settings) -> float:
    """Seconds between the ticks of its service."""
    return 60


def create(_: Settings, project: Project, **chosen: Any) -> IndicatorsSource:
    """The source of the settings; `chosen` are the options of the command, as `options` takes them.

    Raises:
        SettingsError: a setting cannot work.
    """
    return IndicatorsSource(project, options(**chosen))


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
        plan = find(connection, project.market_timeframes, (), ())
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
    with (
        prepared(settings, project, "indicators compute") as connection,
        closing(compute(connection, warehouse, project, Files(settings.home), chosen, progress, stop)) as stages,
    ):
        for each in stages:
            if isinstance(each, Written):
                computed.add(each)
    return computed
