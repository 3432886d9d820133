"""Reconciliation: compares the whole SQLite file with staging, and staging with the tables, and repairs both.

A run reads only the newest bars, by default one hour back. Reconciliation finds older changes, in the file or in the
tables.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from extract.dbt_runner import Progress, TransformResult
from extract.errors import TransformError
from extract.records import Run
from extract.run import PATIENCE, RunContext, Runner
from extract.service import Chore
from extract.sources.mt5 import bars
from extract.sources.mt5.rejects import WholeFile
from extract.sources.mt5.source import OHLC, Mt5Reading, Mt5Source
from extract.warehouse import value


@dataclass
class SymbolReconciliation:
    """The result for one symbol. The counts are of bars, except `candles`: rows of its nine tables.

    Attributes:
        symbol: lower case.
        read: bars in the file.
        new: bars that the warehouse never had.
        changed: bars that the warehouse had with other values.
        gone: bars in staging that are not in the file. They are kept, because old bars are cut from files.
        candles: candles that were missing, surplus or different from their bars in staging.
        error: why the symbol could not be reconciled in full.
    """

    symbol: str
    read: int = 0
    new: int = 0
    changed: int = 0
    gone: int = 0
    candles: int = 0
    error: str | None = None


@dataclass
class Reconciliation:
    """What was found and, unless it is a dry run, repaired."""

    symbols: list[SymbolReconciliation]
    dry_run: bool
    transform: TransformResult = field(default_factory=TransformResult)

    @property
    def summary(self) -> str:
        """The result in one line."""
        bars = sum(each.new + each.changed for each in self.symbols)
        candles = sum(each.candles for each in self.symbols)
        if self.dry_run:
            return f"dry run: {bars:,} bars would be landed, {candles:,} candles repaired; nothing was written"
        return f"{'done' if self.ok else 'partial'}: {bars:,} bars landed, {candles:,} candles repaired"

    @property
    def problems(self) -> list[str]:
        """What could not be reconciled, each in one line."""
        return [f"{each.symbol}: {each.error}" for each in self.symbols if each.error] + self.transform.problems

    @property
    def ok(self) -> bool:
        """Whether everything could be compared and repaired."""
        return not self.problems


def reconcile(
    runner: Runner[Mt5Reading],
    symbols: Sequence[str],
    *,
    dry_run: bool = False,
    patience: float = PATIENCE,
    progress: Progress = lambda *_: None,
) -> Reconciliation:
    """Compare all bars of the symbols in the file with staging, and staging with the candle tables; repair differences.

    A dry run writes nothing, not even a run record.

    Raises:
        LockHeldError: another run is at work.
        TradehouseError: it could not run; the run record says the same.
    """
    source = runner.source
    assert isinstance(source, Mt5Source)
    with runner.locked("reconcile", patience=patience, progress=progress) as run:
        if dry_run:
            if not run.built.current:
                raise TransformError("the tables are not built as the project is now: run tradehouse sync first")
            return _Reconciler(run, source, symbols, None).all()
        with runner.recorded(run) as record:
            result = _Reconciler(run, source, symbols, record).all()
            record.update(
                rows_read=sum(each.read for each in result.symbols),
                rows_changed=sum(each.new + each.changed for each in result.symbols),
            )
            runner.conclude(run, result.problems, result.transform, complete=False)
            return result


def seconds_until_due(runner: Runner[Mt5Reading], every: float) -> float:
    """Seconds until the next reconciliation of all symbols is due, at one `every` so many seconds.

    The time counts from the last reconciliation in the run records, or from the first run if there was none. So a
    restart of the service changes nothing.

    Raises:
        LockHeldError, WarehouseError: as `reconcile`.
    """
    with runner.locked("reconcile") as run:
        since = value(
            run.connection,
            "select extract(epoch from clock_timestamp() - coalesce("
            "max(started_at) filter (where command = 'reconcile' and status in ('done', 'partial')),"
            " min(started_at), clock_timestamp()))::float from ops.sync_runs where source = %s",
            bars.SOURCE,
        )
    return every - float(since)


def reconciliation_chore(every: float) -> Chore:
    """The chore with which a service reconciles all symbols, once `every` so many seconds."""

    def work(runner: Runner[Mt5Reading]) -> tuple[Sequence[str], Sequence[str], float]:
        wait = seconds_until_due(runner, every)
        if wait > 0:
            return [], [], wait
        started = time.monotonic()
        result = reconcile(runner, runner.project.symbols)
        return [f"reconciled in {time.monotonic() - started:.1f} s: {result.summary}"], result.problems, every

    return Chore("reconcile", work)


class _Reconciler:
    """Does one reconciliation; without a record it writes nothing."""

    def __init__(self, run: RunContext, source: Mt5Source, symbols: Sequence[str], record: Run | None) -> None:
        self._run = run
        self._source = source
        self._record = record
        self._result = Reconciliation([SymbolReconciliation(symbol) for symbol in symbols], dry_run=record is None)

    def all(self) -> Reconciliation:
        """Reconcile the bars first, then the candles made from them."""
        result, run = self._result, self._run
        changed: set[str] = set()
        for number, each in enumerate(result.symbols):
            run.progress("comparing the file with staging", number, len(result.symbols))
            changed |= self._bars(each)
        if self._record is not None:
            result.transform = self._bring_up_to_date(sorted(changed))
        self._candles()
        if self._record is not None:
            self._source.prune(run, [each.symbol for each in result.symbols], result.transform)
        return result

    def _bring_up_to_date(self, models: Sequence[str]) -> TransformResult:
        """Refresh the tables whose bars have changed, or all if the previous run left some out of date."""
        run = self._run
        if not run.built.current:
            return run.runner.build(run)
        return run.runner.refresh(run, models)

    def _bars(self, found: SymbolReconciliation) -> set[str]:
        """Compare and land a symbol's bars, a span of time at a time; return the models they call for."""
        run, session = self._run, self._run.duckdb
        models: set[str] = set()
        rejects = WholeFile(session, found.symbol)
        for since, until in bars.windows(session, self._source.path, found.symbol):
            start = {found.symbol: since}
            extraction = self._source.extract(run, start, until)
            found.error = "; ".join(extraction.problems) or None
            if found.error:
                break
            bars.compare(session, run.connection, extraction, start, run.project.timeframes.values(), until)
            if self._record is not None:
                bars.land(session, self._record, extraction, start)
            rejects.add()
            outcome = extraction.outcomes[found.symbol]
            found.read += outcome.rows_read
            found.new += outcome.rows_new
            found.changed += outcome.rows_changed - outcome.rows_new
            found.gone += outcome.rows_gone
            models |= set(self._source.models_of(extraction))
        if self._record is not None and not found.error:
            rejects.resolve_departed(self._record)
        return models

    def _candles(self) -> None:
        """Compare the tables with staging by the dbt test `candles_match_bars`; repair by a full refresh in place."""
        result, run = self._result, self._run
        differing = self._test_candles(result.symbols)
        for each in result.symbols:
            each.candles = differing.get(each.symbol, 0)
        if result.dry_run or not differing:
            return
        tables = [table for symbol in differing for table in run.project.tables_of(symbol)]
        arguments = ["run", "--full-refresh", "--select", *tables, OHLC]
        result.transform.add(run.dbt.run(*arguments, step="repairing tables", progress=run.progress))
        still = self._test_candles([each for each in result.symbols if each.symbol in differing])
        for each in result.symbols:
            if each.symbol in still and not each.error:
                each.error = f"{still[each.symbol]} candles still differ from staging after their tables were rebuilt"

    def _test_candles(self, symbols: Sequence[SymbolReconciliation]) -> dict[str, int]:
        """How many candles of each symbol differ from their bars in staging; symbols without any are left out."""
        names = {f"candles_match_bars_stg_mt5__{each.symbol}_{each.symbol}": each for each in symbols}
        step = "comparing staging with the tables"
        tested = self._run.dbt.run("test", "--select", *names, step=step, progress=self._run.progress)
        for name, message in tested.failed.items():
            if name not in tested.rows_failed:
                names[name].error = names[name].error or message
        return {names[name].symbol: rows for name, rows in tested.rows_failed.items()}
