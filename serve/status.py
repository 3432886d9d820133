"""Whether everything is current: what the warehouse holds, what it should hold, and how the last runs went.

The view `ops.sync_health` judges each table, and `ops.source_health` each source. This module reads both views and
puts the results together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg2

from extract.errors import WarehouseError
from extract.settings import Project
from extract.warehouse import Connection, complaint
from serve.states import Problem, RunState, SourceState, Status, SymbolState, TableState

CANDLES = "mt5"
"""The source of the candle tables."""
ACCOUNTS = "accounts"
"""The source that judges its accounts one by one."""
RUNS_SHOWN = 5
REJECTS_OF = timedelta(hours=24)
"""Only rejects of bars of this age are counted, because reading the JSON of all bars takes seconds."""


def read_status(connection: Connection, project: Project, grace_minutes: int, source: str | None = None) -> Status:
    """Read the state of each source, of every candle table and of the last runs. Reads only.

    Args:
        connection: in one transaction, so that all values are of one moment.
        project: the lists.
        grace_minutes: how late a bar or a run may be.
        source: look at this source alone; the candle tables are those of `mt5`.

    Raises:
        WarehouseError: the server denies the reading, or the connection fails.
    """
    try:
        [(as_of, _)] = _rows(
            connection, "select now(), set_config('tradehouse.grace', %s, true)", f"{grace_minutes} minutes"
        )
        sources = [each for each in _sources(connection) if source in (None, each.source)]
        with_candles = source in (None, CANDLES)
        runs = _runs(connection) if with_candles else []
        tables = _tables(connection, project) if with_candles else []
        symbols = _symbols(connection, project, as_of) if with_candles else []
        missing = _missing(connection, project)
        stale = _stale_accounts(connection) if source in (None, ACCOUNTS) else []
    except psycopg2.Error as error:
        raise WarehouseError(f"cannot read the state of the warehouse: {complaint(error, connection.dsn)}") from None
    state = Status(as_of, grace_minutes, [], sources, tables, symbols, runs)
    if not state.runs and not state.sources:
        state.problems.append(Problem((), f"no run yet: tradehouse {f'{source} ' if source else ''}sync"))
    else:
        state.problems.extend(_problems(project, state, missing))
    state.problems.extend(stale)
    return state


def _rows(connection: Connection, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)
        return cursor.fetchall()


def _existing(connection: Connection, relations: Iterable[str]) -> set[str]:
    found = _rows(
        connection, "select name from unnest(%s) as name where to_regclass(name) is not null", list(relations)
    )
    return {row[0] for row in found}


def _tables(connection: Connection, project: Project) -> list[TableState]:
    existing = _existing(connection, [f"public.{name}" for name in project.candle_tables])
    counts: dict[str, tuple[int, datetime | None]] = {}
    if existing:
        each = (f"select '{table}', count(*), max(timestamp) from {table}" for table in existing)
        counts = {table: (rows, newest) for table, rows, newest in _rows(connection, " union all ".join(each))}
    verdicts = {}
    if _existing(connection, ["ops.sync_health"]):
        for symbol, timeframe, *verdict in _rows(
            connection,
            "select symbol, timeframe, newest_bar, expected_bar, extract(epoch from lag)::float, status, reason"
            " from ops.sync_health",
        ):
            verdicts[symbol, timeframe] = verdict
    states = []
    for symbol in project.symbols:
        for timeframe in project.timeframes:
            rows, newest = counts.get(f"public.{project.table(symbol, timeframe)}", (None, None))
            if rows is None:
                verdict = [None, None, None, "missing", "there is no such table; the next sync builds it"]
            else:
                unknown = [newest, None, None, "unknown", "not in ops.sync_health; the next sync builds it"]
                verdict = verdicts.get((symbol, timeframe), unknown)
            states.append(TableState(symbol, timeframe, rows, *verdict))
    return states


def _symbols(connection: Connection, project: Project, as_of: datetime) -> list[SymbolState]:
    existing = _existing(connection, ["ops.sync_symbols", "ops.rejected_bars"])
    known = {}
    if "ops.sync_symbols" in existing:
        for symbol, *found in _rows(
            connection,
            "select symbol, status, source_newest, last_change_at, last_error, last_error_at from ops.sync_symbols",
        ):
            known[symbol] = found
    rejects: dict[str, int] | None = None
    if "ops.rejected_bars" in existing:
        rejects = dict(
            _rows(
                connection,
                "select symbol, count(*) from ops.rejected_bars where coalesce(bar_time, extracted_at) > %s group by 1",
                as_of - REJECTS_OF,
            )
        )
    states = []
    for symbol in project.symbols:
        status, newest, *rest = known.get(symbol, [None] * 5)
        states.append(SymbolState(symbol, status, newest, None if rejects is None else rejects.get(symbol, 0), *rest))
    return states


def _sources(connection: Connection) -> list[SourceState]:
    if not _existing(connection, ["ops.source_health"]):
        return []
    return [
        SourceState(*row)
        for row in _rows(
            connection,
            "select source, last_run_id, last_status, last_ended_at, last_success_at, due_again_at, verdict, reason"
            " from ops.source_health order by source",
        )
    ]


def _missing(connection: Connection, project: Project) -> dict[str, list[str]]:
    """Tables and views that were built once and are gone, by source; without candle tables, which `_tables` reports."""
    if not _existing(connection, ["ops.built_models"]):
        return {}
    tables = {f"public.{name}" for name in project.candle_tables}
    missing: dict[str, list[str]] = {}
    for source, relation in _rows(
        connection,
        "select source, relation from ops.built_models where to_regclass(relation) is null order by 1, place",
    ):
        if relation not in tables:
            missing.setdefault(source, []).append(relation)
    return missing


def _stale_accounts(connection: Connection) -> list[Problem]:
    """The accounts that are not current, where there are any and this login may read them."""
    view = "accounts.stale_accounts"
    [(may_read,)] = _rows(
        connection,
        "select case when has_schema_privilege(to_regnamespace('accounts'), 'usage')"
        " then has_table_privilege(to_regclass(%s), 'select') end",
        view,
    )
    found = _rows(connection, f"select account_id from {view} order by account_id") if may_read else []
    if not found:
        return []
    names = tuple(f"account {account}" for (account,) in found)
    return [Problem(names, "stale: not read whole for too long; tradehouse accounts status says more")]


def _runs(connection: Connection) -> list[RunState]:
    if not _existing(connection, ["ops.sync_runs"]):
        return []
    return [
        RunState(*row)
        for row in _rows(
            connection,
            "select run_id, command, status, started_at, finished_at,"
            " extract(epoch from finished_at - started_at)::float,"
            " rows_read, rows_changed, rows_rejected, models_built, models_failed, error"
            " from ops.sync_runs where source = %s order by run_id desc limit %s",
            CANDLES,
            RUNS_SHOWN,
        )
    ]


def _problems(project: Project, state: Status, missing: Mapping[str, list[str]]) -> list[Problem]:
    """What is stale or broken: each cause once, with its tables or its source."""
    candles = _candle_problems(project, state) if state.has_candles else []
    ran = {source.source for source in state.sources} | ({CANDLES} if state.runs else set())
    found = []
    for source in state.sources:
        named = source.source == CANDLES and source.verdict == "partial" and _names_what_failed(state)
        if not source.ok and not named:
            found.append(Problem((source.source,), f"{source.verdict}: {source.reason}"))
    gone = [name for source in missing if source in ran for name in missing[source]]
    if gone:
        found.append(
            Problem(tuple(dict.fromkeys(gone)), "missing: there is no such view or table; the next sync builds it")
        )
    stands_still = not candles and not any(problem.concerned == (CANDLES,) for problem in found)
    if state.has_candles and stands_still:
        candles = _nobody_at_work(state)
    return found + candles


def _names_what_failed(state: Status) -> bool:
    """Whether the states of the symbols already explain why the last candle run was partial."""
    ended = _last_ended(state.runs)
    return bool(ended and not ended.models_failed and any(_is_broken(symbol) for symbol in state.symbols))


def _is_broken(symbol: SymbolState) -> bool:
    return symbol.status in {"missing", "failed"}


def _last_ended(runs: Iterable[RunState]) -> RunState | None:
    return next((run for run in runs if run.status in {"done", "partial", "failed"}), None)


def _candle_problems(project: Project, state: Status) -> list[Problem]:
    causes: dict[tuple[str, str], dict[str, list[str]]] = {}
    for table in state.tables:
        if not table.ok:
            concerned = causes.setdefault((table.status, table.reason or ""), {})
            concerned.setdefault(table.symbol, []).append(table.timeframe)
    for symbol in state.symbols:
        if _is_broken(symbol):
            causes.setdefault(("failed", symbol.last_error or ""), {}).setdefault(symbol.symbol, [])
    return [
        Problem(_named(project, concerned), f"{status}: {reason}") for (status, reason), concerned in causes.items()
    ]


def _nobody_at_work(state: Status) -> list[Problem]:
    """The problem that no run has ended lately. It shows even while markets are closed and no bar is due."""
    ended = _last_ended(state.runs)
    if ended is None or ended.finished_at is None:
        return [Problem((CANDLES,), "no run has ended yet")]
    if ended.finished_at < state.as_of - timedelta(minutes=state.grace_minutes):
        return [
            Problem(
                (CANDLES,), f"no run has ended since {ended.finished_at.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"
            )
        ]
    return []


def _named(project: Project, concerned: dict[str, list[str]]) -> tuple[str, ...]:
    """The names concerned: a symbol if all its tables are, else the single tables."""
    every = list(project.timeframes)
    if concerned == dict.fromkeys(project.symbols, every):
        return ("all tables",)
    return tuple(
        name
        for symbol, timeframes in concerned.items()
        for name in (
            [symbol.upper()]
            if timeframes in ([], every)
            else [f"{symbol.upper()} {timeframe}" for timeframe in timeframes]
        )
    )
