"""The SQL of a batch: what it reads from the warehouse, and what DuckDB does with it.

The tables of a round: `bars` and `arrays` (NumPy's: prices; what TA-Lib gave, without the warm-up), `stored_n` (what
the warehouse holds), `compared_n` (all columns, and whether they differ from what is stored), `bounds_n` (one row per
series); n numbers the rounds. `no` numbers the series of a batch, `bar_at` is the bar's open in microseconds since
1970.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from extract.quoting import identifier, literal
from indicators.series import Series

WAREHOUSE = "wh"
CANDLES = "market.candle_data"
VALUES = "market.indicator_data"
TOLERANCE = 1e-10
"""How far a value may be from the stored one, as a share of it or absolutely, whichever allows more."""

# The previous session day's levels: classic pivots, and Fibonacci's shares of its range.
LEVELS = {
    "pivot_point": "middle",
    "pivot_r1": "2 * middle - low",
    "pivot_r2": "middle + (high - low)",
    "pivot_r3": "high + 2 * (middle - low)",
    "pivot_s1": "2 * middle - high",
    "pivot_s2": "middle - (high - low)",
    "pivot_s3": "low - 2 * (high - middle)",
    "fib_r1": "middle + 0.382 * (high - low)",
    "fib_r2": "middle + 0.618 * (high - low)",
    "fib_s1": "middle - 0.382 * (high - low)",
    "fib_s2": "middle - 0.618 * (high - low)",
}


def candles_sql(wanted: Sequence[tuple[int, Series, int | None]]) -> str:
    """The candles of each series: from so many bars before its change on, or all (None), oldest first."""
    series = ", ".join(
        f"({no}, {each.instrument_id}::bigint, {literal(each.timeframe)}, {_moment(each.changed_from)},"
        f" {bars or 1}::bigint)"
        for no, each, bars in wanted
    )
    same = "instrument_id = starts.instrument_id and timeframe = starts.timeframe"
    query = (
        f"with starts as materialized (select no, instrument_id, timeframe, (select timestamp from {CANDLES} as candles"
        " where candles.instrument_id = wanted.instrument_id and candles.timeframe = wanted.timeframe"
        " and timestamp < changed_from order by timestamp desc offset bars - 1 limit 1) as start_at"
        f" from (values {series}) as wanted (no, instrument_id, timeframe, changed_from, bars))"
        " select no, timestamp, open, high, low, close, coalesce(volume, 0)::double precision as volume,"
        f" start_at is null as is_whole from starts cross join lateral (select * from {CANDLES} where {same}"
        f" and timestamp >= coalesce(start_at, '-infinity') offset 0) as candles"
    )
    return (
        "select no::bigint as no, epoch_us(timestamp) as bar_at, open, high, low, close, volume, is_whole"
        f" from postgres_query({literal(WAREHOUSE)}, {literal(query)}) order by no, bar_at"
    )


def stored_sql(wanted: Sequence[tuple[int, Series, int]], types: Mapping[str, str], *, empty: bool) -> str:
    """What the warehouse holds of each series from a moment on."""
    if empty:
        return rows_sql(types, empty=True)
    series = ", ".join(
        f"({no}, {each.instrument_id}::bigint, {literal(each.timeframe)}, {_moment(start)})"
        for no, each, start in wanted
    )
    names = ", ".join(map(identifier, types))
    query = (
        f"select no, timestamp, {names} from (values {series}) as wanted (no, wanted_id, wanted_timeframe, start_at)"
        f" cross join lateral (select * from {VALUES} where instrument_id = wanted_id and timeframe = wanted_timeframe"
        " and timestamp >= start_at offset 0) as stored"
    )
    return (
        f"select no::bigint as no, epoch_us(timestamp) as bar_at, {names}"
        f" from postgres_query({literal(WAREHOUSE)}, {literal(query)})"
    )


def rows_sql(types: Mapping[str, str], *, empty: bool = False) -> str:
    """`arrays` with all columns: NULL for what is no finite number, and the levels of the previous session day."""
    if empty:
        columns = ", ".join(f"null::{_duckdb(kind)} as {identifier(name)}" for name, kind in types.items())
        return f"select null::bigint as no, null::bigint as bar_at, {columns} limit 0"
    columns = ", ".join(
        LEVELS[name].join(("", f" as {identifier(name)}"))
        if name in LEVELS
        else f"case when isfinite(arrays.{identifier(name)}) then arrays.{identifier(name)} end::{_duckdb(kind)}"
        f" as {identifier(name)}"
        for name, kind in types.items()
    )
    return (
        "with days as (select no, day, max(high) as high, min(low) as low, arg_max(close, bar_at) as close"
        " from bars group by no, day),"
        " previous as (select no, day, lag(high) over days as high, lag(low) over days as low,"
        " lag(close) over days as close from days window days as (partition by no order by day)),"
        " levels as (select *, (high + low + close) / 3 as middle from previous)"
        f" select arrays.no, arrays.bar_at, {columns}"
        " from arrays join levels using (no, day)"
    )


def _differs(types: Mapping[str, str]) -> str:
    """Whether a row of `fresh` is not as `stored` has it."""
    parts = ["stored.no is null"]
    for name in map(identifier, types):
        new, old = f"fresh.{name}", f"stored.{name}"
        parts.append(f"({new} is null) <> ({old} is null)")
        parts.append(f"coalesce(abs({new} - {old}) > {TOLERANCE} * greatest(1, abs({old})), false)")
    return " or ".join(parts)


def compared_sql(types: Mapping[str, str], round_: int, *, empty: bool) -> str:
    """All columns of each bar computed, and whether they differ from what is stored: `is_changed`."""
    return (
        f"with fresh as ({rows_sql(types, empty=empty)})"
        f" select fresh.*, {_differs(types)} as is_changed"
        f" from fresh left join stored_{round_} as stored using (no, bar_at)"
    )


def disagreeing_sql(round_: int) -> str:
    """The numbers of the series with a bar of the overlap that is not as it is stored, or that one of the two lacks."""
    inside = "not is_complete and bar_at >= compared_from and bar_at < changed_from"
    return (
        f"select no from compared_{round_} join bounds_{round_} using (no) where is_changed and {inside} union"
        f" select no from stored_{round_} join bounds_{round_} using (no)"
        f" anti join compared_{round_} using (no, bar_at) where {inside}"
    )


def results_sql(types: Mapping[str, str], round_: int) -> str:
    """Rows to write of the series that a round settled.

    New or different ones, not before the change unless the whole series was computed; and a row without any value for
    each stored one whose candle is gone.
    """
    names = ", ".join(map(identifier, types))
    nulls = ", ".join("null" for _ in types)
    return (
        f"select no, bar_at, {names} from compared_{round_} join bounds_{round_} using (no)"
        " where is_settled and is_changed and (is_complete or bar_at >= changed_from)"
        f" union all select no, bar_at, {nulls} from stored_{round_} join bounds_{round_} using (no)"
        f" anti join compared_{round_} using (no, bar_at) where is_settled and (is_complete or bar_at >= changed_from)"
    )


def _moment(at: int | None) -> str:
    """Microseconds since 1970 as SQL of a timestamptz."""
    if at is None:
        return "null::timestamptz"
    return "'-infinity'::timestamptz" if at < 0 else f"timestamptz 'epoch' + {at} * interval '1 microsecond'"


def _duckdb(kind: str) -> str:
    return {"double precision": "double"}.get(kind, kind)
