"""Reconciliation: all of the SQLite file against staging, staging against the tables, and the repair of both.

A cycle looks at the newest bars only, an hour back by default. What changes behind that, in the file or in the
tables, is found here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from extract.cycle import PATIENCE, Pipeline, Progress, Tools
from extract.dbt_runner import TransformResult
from extract.errors import TransformError
from extract.records import Run, recorded
from extract.sources.mt5 import bars


@dataclass
class SymbolReconciliation:
    """What was found of one symbol. Counts are of bars, `candles` of rows of its nine tables.

    Attributes:
        symbol: lower case.
        read: bars in the file.
        new: bars the warehouse had never seen.
        changed: bars it had with other values.
        gone: bars staging has and the file has not. They are left alone: files are cut, too.
        candles: candles that were missing, surplus or different from what staging calls for.
        error: why the symbol could not be reconciled, or not to the end.
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
    """What was found and, but for a dry run, repaired."""

    symbols: list[SymbolReconciliation]
    dry_run: bool
    transform: TransformResult = field(default_factory=TransformResult)

    @property
    def summary(self) -> str:
        """All of it in one line."""
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
    pipeline: Pipeline,
    symbols: Sequence[str],
    *,
    dry_run: bool = False,
    patience: float = PATIENCE,
    progress: Progress = lambda *_: None,
) -> Reconciliation:
    """Compare all bars of symbols in the file with staging and their candles with staging; repair what differs.

    A dry run writes nothing, not even a run record.

    Raises:
        LockHeldError: another run is at work.
        SourceError, WarehouseError, TransformError: it could not run; the run record says the same.
    """
    with pipeline.locked("reconcile") as tools:
        if dry_run:
            if not tools.built:
                raise TransformError("the tables are not built as the project is now: run tradehouse sync first")
            return _reconcile(tools, None, symbols, patience, progress)
        with recorded(tools.connection, tools.warehouse, bars.SOURCE, "reconcile") as run:
            result = _reconcile(tools, run, symbols, patience, progress)
            run.conclude(
                result.problems,
                rows_read=sum(each.read for each in result.symbols),
                rows_changed=sum(each.new + each.changed for each in result.symbols),
                models_built=result.transform.built,
                models_failed=result.transform.models_failed,
                project_fingerprint=None if tools.built or result.transform.models_failed else tools.fingerprint,
            )
            return result


def seconds_until_due(pipeline: Pipeline, every: float) -> float:
    """Seconds until the next reconciliation of all symbols, if there is to be one `every` so many seconds.

    The last one, or else the first run at all, is looked up in the run records, so that restarts do not matter.

    Raises:
        LockHeldError, WarehouseError: as `reconcile`.
    """
    with pipeline.locked("reconcile") as tools, tools.connection.cursor() as cursor:
        cursor.execute(
            "select extract(epoch from clock_timestamp() - coalesce("
            "max(started_at) filter (where command = 'reconcile' and status in ('done', 'partial')),"
            " min(started_at), clock_timestamp()))::float from ops.sync_runs where source = %s",
            (bars.SOURCE,),
        )
        row = cursor.fetchone()
    return every - float(row[0]) if row else every


def _reconcile(
    tools: Tools, run: Run | None, symbols: Sequence[str], patience: float, progress: Progress
) -> Reconciliation:
    result = Reconciliation([SymbolReconciliation(symbol) for symbol in symbols], dry_run=run is None)
    changed: set[str] = set()
    for number, each in enumerate(result.symbols):
        progress("comparing the file with staging", number, len(symbols))
        changed |= _reconcile_bars(tools, run, each, patience)
    if run is not None:
        # a run before this one may have left tables undone, which its own record would hide
        tables = sorted(changed) if tools.clean else tools.project.candle_tables
        result.transform = tools.increment(tables, progress) if tools.built else tools.build(progress)
    _reconcile_candles(tools, result, progress)
    if run is not None:
        tools.prune(symbols, result.transform.failed)
    return result


def _reconcile_bars(tools: Tools, run: Run | None, found: SymbolReconciliation, patience: float) -> set[str]:
    """Compare and land a symbol's bars, a span of time at a time; return the tables they change."""
    tables: set[str] = set()
    for since, until in bars.windows(tools.session, tools.source, found.symbol):
        start = {found.symbol: since}
        extraction = tools.extract(start, until, patience=patience)
        found.error = "; ".join(extraction.problems) or None
        if found.error:
            break
        bars.compare(tools.session, tools.connection, extraction, start, tools.project.timeframes.values(), until)
        if run is not None:
            bars.land(tools.session, run, extraction, start)
        outcome = extraction.outcomes[found.symbol]
        found.read += outcome.rows_read
        found.new += outcome.rows_new
        found.changed += outcome.rows_changed - outcome.rows_new
        found.gone += outcome.rows_gone
        tables |= set(tools.tables_on(extraction.changed_grids))
    return tables


def _reconcile_candles(tools: Tools, result: Reconciliation, progress: Progress) -> None:
    """Compare the tables with staging by the project's own test of that; repair by a full refresh in place."""
    differing = _test_candles(tools, result.symbols, progress)
    for each in result.symbols:
        each.candles = differing.get(each.symbol, 0)
    if result.dry_run or not differing:
        return
    tables = [table for symbol in differing for table in tools.project.tables_of(symbol)]
    repair = tools.transform("repairing tables", len(tables), progress, "run", "--full-refresh", "--select", *tables)
    result.transform.add(repair)
    still = _test_candles(tools, [each for each in result.symbols if each.symbol in differing], progress)
    for each in result.symbols:
        if each.symbol in still and not each.error:
            each.error = f"{still[each.symbol]} candles still differ from staging after their tables were rebuilt"


def _test_candles(tools: Tools, symbols: Sequence[SymbolReconciliation], progress: Progress) -> dict[str, int]:
    """How many candles of each symbol are not what staging calls for, where there are any."""
    names = {f"candles_match_bars_stg_mt5__{each.symbol}_{each.symbol}": each for each in symbols}
    tested = tools.transform("comparing staging with the tables", len(names), progress, "test", "--select", *names)
    for name, message in tested.failed.items():
        if name not in tested.rows_failed:
            names[name].error = names[name].error or message
    return {names[name].symbol: rows for name, rows in tested.rows_failed.items()}
