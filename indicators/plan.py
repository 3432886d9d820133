"""Which series have to be computed: those with candles that changed since their mark, from the first change on."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from extract.errors import SourceError
from extract.warehouse import Connection, transaction, value
from indicators.series import Series

CANDLES_A_BATCH = 60_000
"""How many candles one batch reads, unless a series alone has more."""
TAIL = 3_000
"""Candles that are read of a series at least."""


@dataclass(frozen=True)
class Plan:
    """What there is to do.

    Attributes:
        candles_until: the newest stamp of all candles when the plan was made, in microseconds; None without candles.
        has_values: whether the warehouse holds computed values.
        scope: the instrument types, as `staging.indicator_scans` names them.
    """

    series: list[Series]
    candles_until: int | None
    has_values: bool
    scope: str


# Microseconds since 1970 of an SQL expression.
MICROSECONDS = "(extract(epoch from {}) * 1000000)::bigint"

FIND = f"""
with

marks as (
    select * from staging.indicator_marks where %(trusted)s
),

known as (
    select distinct instrument_id, timeframe
    from market.coverage
    where timeframe = any(%(timeframes)s) and (%(types)s::text[] is null or instrument_id in (
        select instrument_id from market.instrument_master where instrument_type = any(%(types)s)
    ))
),

since as (
    select coalesce(
        (select candles_until from staging.indicator_scans where instrument_types = %(scope)s and %(trusted)s),
        (select min(candles_until) from marks)
    ) as stamp
),

found as (
    -- series that were never computed, or are to be computed from the start
    select known.instrument_id, known.timeframe, null as changed_from, marks.first_bar, candles.*
    from known
    left join marks using (instrument_id, timeframe)
    cross join lateral (
        select max(synced_at) as candles_until, count(*) as candles, min(timestamp) as first_candle
        from market.candle_data
        where instrument_id = known.instrument_id and timeframe = known.timeframe
    ) as candles
    where marks.instrument_id is null or %(anew)s
    union all
    -- series with changes
    select
        marks.instrument_id,
        marks.timeframe,
        (date_trunc('day', min(candle_data.timestamp) at time zone 'Asia/Kolkata')) at time zone 'Asia/Kolkata',
        marks.first_bar,
        max(candle_data.synced_at),
        count(*),
        null
    from market.candle_data
    inner join marks using (instrument_id, timeframe)
    inner join known using (instrument_id, timeframe)
    where not %(anew)s
        and candle_data.synced_at > (select stamp from since)
        and candle_data.synced_at > marks.candles_until
    group by marks.instrument_id, marks.timeframe, marks.first_bar
)

select
    instrument_id, timeframe, {MICROSECONDS.format("changed_from")}, {MICROSECONDS.format("candles_until")},
    {MICROSECONDS.format("first_bar")}, candles
from found
-- a series whose first candles are gone is not computed from the start: it would get another seed
where candles > 0 and (first_bar is null or first_candle is null or first_candle <= first_bar)
order by instrument_id, timeframe
"""


def find(
    connection: Connection,
    timeframes: Sequence[str],
    types: Sequence[str],
    pending: Collection[tuple[int, str]],
    *,
    anew: bool = False,
) -> Plan:
    """Find the series to compute.

    Args:
        connection: in autocommit; the staging tables exist.
        timeframes: those of the candles, such as 1d; of others nothing is computed.
        types: instrument types, such as EQUITY; empty for all.
        pending: series that wait to be loaded, which are left out.
        anew: compute every series from its first candle.

    Raises:
        SourceError: there is no table of candles.
    """
    for relation in ("market.candle_data", "market.coverage", "market.instrument_master"):
        if not value(connection, "select to_regclass(%s) is not null", relation):
            raise SourceError(f"there is no table {relation} yet: run `tradehouse upstox sync` first")
    scope = ", ".join(sorted(types)) or "all"
    has_values = holds_values(connection)
    parameters = {
        "trusted": has_values,
        "timeframes": list(timeframes),
        "types": list(types) or None,
        "scope": scope,
    }
    found: dict[tuple[int, str], Series] = {}
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute("set transaction isolation level repeatable read, read only")
        cursor.execute(f"select {MICROSECONDS.format('max(synced_at)')} from market.candle_data")
        row = cursor.fetchone()
        for from_the_start in (True, False) if anew else (False,):
            cursor.execute(FIND, parameters | {"anew": from_the_start})
            for each in (Series(*fields) for fields in cursor.fetchall()):
                found.setdefault((each.instrument_id, each.timeframe), each)
    series = [each for key, each in sorted(found.items()) if key not in pending]
    return Plan(series, row[0] if row else None, has_values, scope)


def holds_values(connection: Connection) -> bool:
    """Whether the marks hold: if somebody has dropped or emptied the table they speak of, all is computed again."""
    there = value(connection, "select to_regclass('market.indicator_data') is not null")
    return bool(there and value(connection, "select exists (select from market.indicator_data)"))


def batches(series: Sequence[Series]) -> Iterator[list[Series]]:
    """Series in their order, in batches of some CANDLES_A_BATCH candles."""
    batch: list[Series] = []
    candles = 0
    for each in series:
        needed = max(each.candles, TAIL)
        if batch and candles + needed > CANDLES_A_BATCH:
            yield batch
            batch, candles = [], 0
        batch.append(each)
        candles += needed
    if batch:
        yield batch
