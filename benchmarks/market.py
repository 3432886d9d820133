"""How the market's tables grow: the same work at a million candles and at ten million.

Usage: python -m benchmarks.market [--shares 200] [--months 6] [--rounds 5]

Two warehouses in one embedded Postgres, one with a tenth of the shares: `upstox status` and the plan of
`upstox sync --dry-run` as whole commands and in SQL alone; one session of twenty shares upserted by
`refresh.candle_data()`; the last 1,000 minutes of one share, as rows and as the API's answer.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import click
import psycopg2
from psycopg2.extras import execute_values
from rich.console import Console
from rich.table import Table

from benchmarks.backfill import TRADEHOUSE
from benchmarks.indicators import build
from benchmarks.server import embedded_server, timed
from extract.schema import prepare
from extract.settings import Settings, load_project
from extract.sources.upstox.plan import SEGMENTS, freshness
from extract.sources.upstox.settings import UpstoxSettings
from extract.warehouse import Connection, Warehouse
from tests.support.upstox_rows import contract, index, share

INDICES = (index("NSE_INDEX|Nifty 50", "NIFTY"), index("BSE_INDEX|SENSEX", "SENSEX"))
OF_A_SESSION = 20
"""Shares of which a round lands one more session."""
WINDOWS = """
    with sessions as (
        select day::date as day from generate_series(%(first)s::date, %(last)s, '1 day') as day
        where extract(isodow from day) < 6
    ),

    bars as materialized (
        select '1m' as timeframe, date_trunc('month', day)::date as first_day, day,
            (day + time '09:15') at time zone 'Asia/Kolkata' + make_interval(mins => minute) as timestamp
        from sessions
        cross join generate_series(0, 374) as minute
        union all
        select '1d', make_date(extract(year from day)::integer / 10 * 10, 1, 1), day, day at time zone 'Asia/Kolkata'
        from sessions
    ),

    series as materialized (
        select timeframe, first_day, array_agg(timestamp order by timestamp) as timestamps,
            array_agg(100 + (extract(epoch from timestamp)::bigint / 60 %% 97) / 20.0 order by timestamp)
                ::double precision[] as prices,
            array_agg(extract(epoch from timestamp)::bigint / 60 %% 4999 + 1 order by timestamp) as volumes,
            array_agg(distinct day) as days
        from bars
        group by timeframe, first_day
    )

    insert into staging.upstox_windows
    select
        instrument_id, timeframe, 'history', first_day, %(last)s, instrument_key, timestamps, prices, prices, prices,
        prices, volumes, volumes, days, timestamps[1], timestamps[cardinality(timestamps)], clock_timestamp(), false,
        %(stamp)s
    from staging.upstox_keys
    cross join series
    where instrument_key not like 'NSE_FO%%' and (timeframe = '1d' or instrument_key like 'NSE_EQ%%')
"""
ONE_MORE_SESSION = """
    with minutes as (
        select array_agg((%(day)s + time '09:15') at time zone 'Asia/Kolkata' + make_interval(mins => minute)) as at
        from generate_series(0, 374) as minute
    ),

    newest as (
        select distinct on (instrument_id) *
        from staging.upstox_windows
        where timeframe = '1m'
            and instrument_id < (select min(instrument_id) from staging.upstox_keys) + %(shares)s
        order by instrument_id, window_start desc
    )

    update staging.upstox_windows as known
    set timestamps = known.timestamps || minutes.at, open = known.open || known.open[1:375],
        high = known.high || known.high[1:375], low = known.low || known.low[1:375],
        close = known.close || known.close[1:375], volume = known.volume || known.volume[1:375],
        oi = known.oi || known.oi[1:375], days = known.days || %(day)s, window_end = %(day)s,
        last_at = minutes.at[375], asked_at = clock_timestamp(), extracted_at = %(stamp)s
    from newest
    cross join minutes
    where (known.instrument_id, known.timeframe, known.kind, known.window_start)
        = (newest.instrument_id, newest.timeframe, newest.kind, newest.window_start)
"""


def fill(connection: Connection, shares: int, first: date, last: date) -> None:
    """Land the masters of indices, shares and a future of each, and the candles of indices and shares."""
    stamp = datetime.now(timezone.utc)
    rows = [*INDICES]
    for number in range(shares):
        each = share(f"S{number:04}", f"INE{number:06}011")
        rows += [each, contract(number, each, last + timedelta(days=30), "FUT")]
    with connection.cursor() as cursor:
        execute_values(
            cursor,
            "insert into staging.upstox_instruments values %s",
            [
                (row["instrument_key"], str(row.get("expiry", "")), row["exchange"], json.dumps(row), True, stamp)
                for row in rows
            ],
        )
        cursor.execute("select count(*) from staging.upstox_identify(%s)", (stamp,))
        cursor.execute(
            "insert into staging.upstox_parts select unnest(%s), clock_timestamp()",
            (["master NSE", "master BSE", "calendar"],),
        )
        cursor.execute(WINDOWS, {"first": first, "last": last, "stamp": stamp})
        cursor.execute("vacuum analyze staging.upstox_windows")


class Market:
    """A warehouse of so many shares; each method returns the seconds of one piece of work."""

    def __init__(self, uri: str, home: Path, shares: int, first: date, last: date) -> None:
        self._environment = {
            "POSTGRESQL_URI": uri,
            "TRADEHOUSE_HOME": str(home),
            "UPSTOX_ACCESS_TOKEN": "unused",
            "PATH": os.environ["PATH"],
        }
        self._last = last
        settings, warehouse = Settings(tradehouse_home=home), Warehouse(uri, embedded=False)
        self._connection = psycopg2.connect(uri)
        self._connection.autocommit = True
        prepare(warehouse, self._connection, load_project())
        fill(self._connection, shares, first, last)
        build(settings, warehouse, self._connection)
        self._run("vacuum analyze market.candle_data, market.coverage")
        self.candles = int(self._value("select count(*) from market.candle_data"))
        self._share = self._value("select min(instrument_id) from market.instrument_master where segment = 'NSE_EQ'")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def status(self) -> float:
        """`tradehouse upstox status` as a whole."""
        return timed([TRADEHOUSE, "upstox", "status", "--json"], self._environment)

    def status_in_sql(self) -> float:
        """What it asks the warehouse."""
        return self._run("select * from market.upstox_status(%s, current_date)", list(SEGMENTS))

    def plan(self) -> float:
        """`tradehouse upstox sync --dry-run` as a whole."""
        return timed([TRADEHOUSE, "upstox", "sync", "--dry-run"], self._environment)

    def plan_in_sql(self) -> float:
        """The plan alone."""
        fresh = freshness(UpstoxSettings(), force=False)
        return self._run(
            "select * from market.upstox_calls(now(), %s, %s, make_interval(hours => %s), make_interval(days => %s))",
            *(list(SEGMENTS), ["NSE", "BSE"], int(fresh.hours), int(fresh.days)),
        )

    def one_session_more(self) -> float:
        """Upsert a session of twenty shares."""
        self._last += timedelta(days=1)
        values = {"day": self._last, "shares": OF_A_SESSION + len(INDICES), "stamp": datetime.now(timezone.utc)}
        with self._connection.cursor() as cursor:
            cursor.execute("select ops.make_month_partitions('market.candle_data', %(day)s, %(day)s)", values)
            cursor.execute(ONE_MORE_SESSION, values)
        return self._run("select refresh.candle_data()")

    def last_bars(self) -> float:
        """The last 1,000 minutes of a share."""
        return self._run(
            "select * from market.candle_data where instrument_id = %s and timeframe = '1m'"
            " and timestamp > now() - interval '20 days' order by timestamp desc limit 1000",
            self._share,
        )

    def answer(self) -> float:
        """The same as the API's answer."""
        return self._run("select api.market_bars(%s, '1m', 1000, null)", str(self._share))

    def _run(self, statement: str, *values: object) -> float:
        with self._connection.cursor() as cursor:
            began = time.perf_counter()
            cursor.execute(statement, values)
            return time.perf_counter() - began

    def _value(self, statement: str) -> int:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            ((value,),) = cursor.fetchall()
        return int(value)


WORK: dict[str, Callable[[Market], float]] = {
    "upstox status, the command": Market.status,
    "upstox status, in SQL": Market.status_in_sql,
    "plan (upstox sync --dry-run), the command": Market.plan,
    "plan, in SQL": Market.plan_in_sql,
    f"a session of {OF_A_SESSION} shares, upserted": Market.one_session_more,
    "last 1,000 minutes of a share": Market.last_bars,
    "the same as the API's answer": Market.answer,
}


@click.command()
@click.option("--shares", default=200, show_default=True, type=click.IntRange(10 * OF_A_SESSION))
@click.option("--months", default=6, show_default=True, type=click.IntRange(1))
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
def main(shares: int, months: int, rounds: int) -> None:
    """Print the median of each piece of work at both sizes, and their ratio.

    Example: python -m benchmarks.market --rounds 3
    """
    console = Console()
    last = datetime.now(timezone.utc).date() - timedelta(days=1)
    first = (last - timedelta(days=30 * months)).replace(day=1)
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(0o755)
        with embedded_server(home / "postgres") as server:
            with console.status("filling two warehouses"):
                few = Market(server.fresh_database("few"), home, shares // 10, first, last)
                many = Market(server.fresh_database("many"), home, shares, first, last)
            with closing(few), closing(many):
                table = Table(title="Median seconds")
                for heading in ("work", f"{few.candles:,} candles", f"{many.candles:,} candles", "ratio"):
                    table.add_column(heading, justify="left" if heading == "work" else "right")
                for work, measure in WORK.items():
                    measure(few), measure(many)  # a first time reads from disk
                    pairs = [(measure(few), measure(many)) for _ in range(rounds)]
                    small, large = (statistics.median(values) for values in zip(*pairs, strict=True))
                    table.add_row(work, f"{small:.3f}", f"{large:.3f}", f"{large / small:.2f}")
                console.print(table)


if __name__ == "__main__":
    main()
