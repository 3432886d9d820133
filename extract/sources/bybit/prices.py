"""Prices of the coins that fees were paid in, where a fee is in no currency of its execution's market (MNT)."""

from __future__ import annotations

from datetime import date, datetime

from extract.landing import StagingTable, landing
from extract.records import Run
from extract.rest import ServiceError
from extract.sources.bybit.client import Bybit
from extract.warehouse import Connection

PRICES = StagingTable("bybit_prices", ("coin", "day"), {"coin": "text", "day": "date", "price": "numeric"})

_DAY = "(exec_time at time zone 'UTC')::date"
# A coin that its market's symbol neither begins nor ends with; dollars need no price where they are the currency.
_LANDED = f"""
    select payload ->> 'feeCurrency' as coin, {_DAY} as day
    from staging.bybit_executions
    where extracted_at >= %(since)s
        and payload ->> 'feeCurrency' ~ '^[A-Z0-9]{{1,20}}$'
        and payload ->> 'feeCurrency' not in ('USDT', 'USDC', 'USD')
        and not starts_with(payload ->> 'symbol', payload ->> 'feeCurrency')
        and right(payload ->> 'symbol', length(payload ->> 'feeCurrency')) <> payload ->> 'feeCurrency'
"""
_STILL_UNPRICED = f"""
    select fee_currency, {_DAY}
    from staging.int_bybit__fills
    where unpriced_fee is not null and fee_currency ~ '^[A-Z0-9]{{1,20}}$'
"""


def land_prices(run: Run, bybit: Bybit, since: datetime | None, notes: list[str]) -> datetime | None:
    """Land the missing prices for what has landed since a batch and for what an earlier run found no price for.

    The executions they are for get the batch's stamp, so that the next increment computes them again. A coin that has
    no price gets a note; its fees stay listed as unpriced.

    Returns:
        The stamp of the first batch that wrote; None without any.
    """
    first: datetime | None = None
    for coin, days in _missing(run.connection, since).items():
        try:
            found = bybit.daily_opens(coin, min(days), max(days))
        except ServiceError as error:
            notes.append(f"fees in {coin} have no price: {error}")
            continue
        rows = [(coin, day, price) for day, price in found.items() if day in days]
        if not rows:
            notes.append(f"fees in {coin} have no price: Bybit lists none for {min(days)}")
            continue
        with landing(run) as batch:
            batch.copy("prices_found", {**PRICES.columns, "price": "text"}, rows)
            batch.upsert(PRICES, "select coin, day, price::numeric as price from prices_found")
            batch.execute(
                f"update staging.bybit_executions as executions set extracted_at = {batch.stamp}"
                " from prices_found as found"
                f" where executions.payload ->> 'feeCurrency' = found.coin and {_DAY} = found.day"
            )
        first = first or batch.extracted_at
    return first


def _missing(connection: Connection, since: datetime | None) -> dict[str, set[date]]:
    with connection.cursor() as cursor:
        cursor.execute("select to_regclass('staging.int_bybit__fills') is not null")
        queries = [_STILL_UNPRICED] if cursor.fetchone() == (True,) else []
        if since is not None:
            queries.append(_LANDED)
        if not queries:
            return {}
        cursor.execute(
            f"select distinct coin, day from ({' union all '.join(queries)}) as wanted (coin, day)"
            " where (coin, day) not in (select coin, day from staging.bybit_prices) order by 1, 2",
            {"since": since},
        )
        missing: dict[str, set[date]] = {}
        for coin, day in cursor.fetchall():
            missing.setdefault(coin, set()).add(day)
    return missing
