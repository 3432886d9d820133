"""Lands replies, each with how far it reaches in one transaction: a killed run loses only the call in flight."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from psycopg2.extras import Json

from extract.landing import Batch, StagingTable, landing
from extract.quoting import literal
from extract.records import Run
from extract.rejects import MOST_KEPT, Reject, digest
from extract.sources.upstox.candles import Candles
from extract.sources.upstox.plan import Call
from extract.warehouse import Connection

SOURCE = "upstox"
WINDOWS = StagingTable(
    "upstox_windows",
    ("instrument_id", "timeframe", "kind", "window_start"),
    {
        "instrument_id": "bigint",
        "timeframe": "text",
        "kind": "text",
        "window_start": "date",
        "window_end": "date",
        "instrument_key": "text",
        "timestamps": "timestamptz[]",
        "open": "double precision[]",
        "high": "double precision[]",
        "low": "double precision[]",
        "close": "double precision[]",
        "volume": "bigint[]",
        "oi": "bigint[]",
        "days": "date[]",
        "first_at": "timestamptz",
        "last_at": "timestamptz",
    },
)


@dataclass(frozen=True)
class Landed:
    """The counts of a landed window; `is_adjusted` says that all of the instrument has to be read again."""

    rows_read: int
    rows_changed: int
    rows_rejected: int
    is_adjusted: bool = False


def land_window(run: Run, call: Call, candles: Candles) -> Landed:
    """Land a window's candles, rejects, and when it was asked for."""
    values = {
        "instrument_id": call.instrument_id,
        "timeframe": call.timeframe,
        "kind": call.kind,
        "window_start": call.window_start,
        "window_end": call.window_end,
        "instrument_key": call.instrument_key,
        **{name: _array(column) for name, column in candles.columns().items()},
        "first_at": candles.timestamps[0] if candles.timestamps else None,
        "last_at": candles.timestamps[-1] if candles.timestamps else None,
    }
    entity = f"{call.instrument_key} {call.timeframe} {call.kind}"
    with landing(run) as batch:
        batch.copy("windows_found", WINDOWS.columns, [tuple(values[name] for name in WINDOWS.columns)])
        is_adjusted = call.kind == "history" and call.timeframe == "1d" and _is_adjusted(batch)
        changed = _write(batch)
        if is_adjusted:
            _mark_stale(batch, call)
        if call.kind == "history" and call.timeframe == "1m":
            batch.execute(
                "delete from staging.upstox_windows as known using windows_found as found where known.kind = 'intraday'"
                " and known.instrument_id = found.instrument_id and known.timeframe = found.timeframe"
                " and known.window_start = any(found.days)"
            )
        batch.record_rejects(
            [(entity, each.key, each.field, each.reason, each.payload) for each in candles.rejects],
            f"known.entity = {literal(entity)} and (known.row_key >= {literal(str(call.window_start))}"
            f" and known.row_key < {literal(f'{call.window_end}U')} or known.row_key like 'sha256:%')",
        )
        read = len(candles.timestamps)
        run.count(rows_read=read, rows_changed=read if changed else 0, rows_rejected=len(candles.rejects))
    return Landed(read, read if changed else 0, len(candles.rejects), is_adjusted)


def _array(values: Iterable[Any]) -> str:
    """A Postgres array as text: an expression of 8,000 constants takes much longer to parse."""
    return "{" + ",".join("NULL" if each is None else str(each) for each in values) + "}"


def _write(batch: Batch) -> bool:
    """Write the window of `windows_found`; say whether its candles differ from what was there.

    A window of which days are gone from market.candle_data counts as different too, so that they come back.
    """
    same = " and ".join(f"known.{name} = found.{name}" for name in WINDOWS.key)
    values = [name for name in WINDOWS.columns if name not in (*WINDOWS.key, "window_end", "instrument_key")]
    with batch.connection.cursor() as cursor:
        cursor.execute(
            "select ("
            + ", ".join(f"known.{name}" for name in values)
            + ") is distinct from ("
            + ", ".join(f"found.{name}" for name in values)
            + ") or cardinality(found.days) > (select count(*) from market.coverage where coverage.instrument_id ="
            " found.instrument_id and coverage.timeframe = found.timeframe and coverage.day = any(found.days))"
            f" from windows_found as found left join staging.upstox_windows as known on {same}"
        )
        row = cursor.fetchone()
    assert row is not None
    differs = bool(row[0])
    names = ", ".join(WINDOWS.columns)
    if differs:
        batch.execute(
            f"insert into staging.upstox_windows as known ({names}, asked_at, extracted_at)"
            f" select {names}, clock_timestamp(), {batch.stamp} from windows_found as found"
            f" on conflict ({', '.join(WINDOWS.key)}) do update set"
            + "".join(f" {name} = excluded.{name}," for name in WINDOWS.columns if name not in WINDOWS.key)
            + " extracted_at = excluded.extracted_at, asked_at = excluded.asked_at, is_stale = false"
        )
    else:
        # that it was asked again is no change of its rows
        with batch.connection.cursor() as cursor:
            cursor.execute(
                "update staging.upstox_windows as known set window_end = found.window_end,"
                " instrument_key = found.instrument_key, asked_at = clock_timestamp(), is_stale = false"
                f" from windows_found as found where {same}"
            )
    return differs


def _is_adjusted(batch: Batch) -> bool:
    """Whether the old closes differ from what was there by one ratio: a split or bonus, not a correction.

    At least five days differ, among them the oldest of both, and their ratios are the same within a rounding of
    prices (0.5 %) and not 1 (0.2 %).
    """
    with batch.connection.cursor() as cursor:
        cursor.execute(
            "with days as (select old.timestamp, new.close / old.close as ratio"
            " from windows_found as found inner join staging.upstox_windows as known"
            " on (known.instrument_id, known.timeframe, known.kind, known.window_start)"
            " = (found.instrument_id, found.timeframe, found.kind, found.window_start)"
            " cross join lateral unnest(known.timestamps, known.close) as old (timestamp, close)"
            " inner join lateral unnest(found.timestamps, found.close) as new (timestamp, close)"
            " on new.timestamp = old.timestamp),"
            " moved as (select * from days where abs(ratio - 1) > 0.0001)"
            " select coalesce(count(*) >= 5 and min(timestamp) = (select min(timestamp) from days)"
            " and max(ratio) / min(ratio) < 1.005 and abs(avg(ratio) - 1) > 0.002, false) from moved"
        )
        row = cursor.fetchone()
    return bool(row and row[0])


def _mark_stale(batch: Batch, call: Call) -> None:
    batch.execute(
        "update staging.upstox_windows set is_stale = true"
        f" where instrument_id = {call.instrument_id} and kind = 'history'"
        f" and (timeframe <> '1d' or window_start <> {literal(str(call.window_start))})"
    )


def land_expiries(run: Run, call: Call, expiries: Iterable[Any]) -> int:
    """Land the list of expiries of an underlying, and that it was read; return how many are no dates."""
    dated, rejects = _dated(expiries, lambda each: each, "expiry")
    with landing(run) as batch, batch.connection.cursor() as cursor:
        cursor.execute(
            "insert into staging.upstox_expiries (underlying_key, expiry_date)"
            " select %s, expiry from unnest(%s::date[]) as expiry on conflict do nothing",
            (call.instrument_key, list(dated)),
        )
        _record_list(batch, f"expiries {call.instrument_key}", rejects)
        _complete(cursor, f"expiries {call.instrument_key}")
    return len(rejects)


def land_calendar(run: Run, holidays: Iterable[Any]) -> int:
    """Land the calendar, and that it was read; return how many rows have no date."""
    dated, rejects = _dated(holidays, lambda each: each.get("date") if isinstance(each, dict) else None, "date")
    with landing(run) as batch:
        rows = [(day, Json(each)) for day, each in dated.items()]
        batch.copy("holidays_found", {"day": "date", "payload": "jsonb"}, rows)
        batch.execute(
            f"insert into staging.upstox_holidays as known select day, payload, {batch.stamp} from holidays_found"
            " on conflict (day) do update set payload = excluded.payload, extracted_at = excluded.extracted_at"
            " where known.payload is distinct from excluded.payload"
        )
        _record_list(batch, "calendar", rejects)
        with run.connection.cursor() as cursor:
            _complete(cursor, "calendar")
    return len(rejects)


def _dated(items: Iterable[Any], day_of: Callable[[Any], object], field: str) -> tuple[dict[date, Any], list[Reject]]:
    """The items by their date, and those without one."""
    dated: dict[date, Any] = {}
    rejects = []
    for item in items:
        try:
            dated[date.fromisoformat(str(day_of(item)))] = item
        except ValueError:
            payload = json.dumps(item)
            rejects.append(Reject(digest(payload), field, "no date", payload))
    return dated, rejects[:MOST_KEPT]


def _record_list(batch: Batch, entity: str, rejects: Sequence[Reject]) -> None:
    """Record the rejects of a list that was read whole."""
    found = [(entity, each.key, each.field, each.reason, each.payload) for each in rejects]
    batch.record_rejects(found, f"known.entity = {literal(entity)}")


def complete_part(connection: Connection, part: str) -> None:
    """Note that a part was read in full."""
    with connection.cursor() as cursor:
        _complete(cursor, part)


def complete_expiries(connection: Connection) -> None:
    """Note the expiries of which every contract has been read."""
    with connection.cursor() as cursor:
        cursor.execute(
            "update staging.upstox_expiries as expiry set completed_at = clock_timestamp()"
            " where completed_at is null and listed_at is not null and not exists ("
            " select from market.upstox_expired_contracts as contract"
            " where contract.underlying_key = expiry.underlying_key and contract.expiry_date = expiry.expiry_date"
            " and contract.asked_at is null)"
        )


def requests_ago(connection: Connection) -> list[float]:
    """How many seconds ago windows were asked for, of the last 30 minutes: what earlier runs used of the limits."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select extract(epoch from clock_timestamp() - asked_at)::double precision from staging.upstox_windows"
            " where asked_at > clock_timestamp() - interval '30 minutes'"
        )
        return [seconds for (seconds,) in cursor.fetchall()]


def is_behind(connection: Connection) -> bool:
    """Whether windows have landed that did not become rows of market.candle_data yet: an earlier run was killed."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select exists (select from staging.upstox_windows where cardinality(timestamps) > 0"
            " and extracted_at > (select coalesce(max(synced_at), '-infinity') from market.candle_data))"
        )
        return cursor.fetchone() == (True,)


def _complete(cursor: Any, part: str) -> None:
    cursor.execute(
        "insert into staging.upstox_parts as known (part, completed_at) values (%s, clock_timestamp())"
        " on conflict (part) do update set completed_at = excluded.completed_at",
        (part,),
    )
