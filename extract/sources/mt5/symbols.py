"""The state of each symbol in `ops.sync_symbols`, and the pruning of its bars in staging."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg2.extras import execute_values

from extract.landing import StagingTable
from extract.quoting import identifier
from extract.warehouse import Connection


def relation(symbol: str) -> str:
    """Quoted and qualified name of a symbol's landing table."""
    return f"staging.{identifier(symbol)}"


def record_symbols(
    connection: Connection, outcomes: Sequence[tuple[str, str, str | None, int | None, bool, str | None]]
) -> None:
    """Keep `ops.sync_symbols` current: one row per symbol, rewritten only where it differs.

    Args:
        connection: the run's.
        outcomes: symbol, status, source table, newest bar read (Unix seconds), whether rows changed, error.
    """
    with connection.cursor() as cursor:
        execute_values(
            cursor,
            """
            insert into ops.sync_symbols as known
                (symbol, status, source_table, source_newest, last_change_at, last_error, last_error_at)
            select
                symbol, status, source_table, to_timestamp(newest::bigint),
                case when changed then clock_timestamp() end,
                error, case when error is not null then clock_timestamp() end
            from (values %s) as seen (symbol, status, source_table, newest, changed, error)
            on conflict (symbol) do update set
                status = excluded.status,
                source_table = excluded.source_table,
                source_newest = coalesce(excluded.source_newest, known.source_newest),
                last_change_at = coalesce(excluded.last_change_at, known.last_change_at),
                last_error = coalesce(excluded.last_error, known.last_error),
                last_error_at = case
                    when excluded.last_error is distinct from known.last_error
                    then coalesce(excluded.last_error_at, known.last_error_at)
                    else known.last_error_at
                end
            where excluded.last_change_at is not null
                or (excluded.status, excluded.source_table) is distinct from (known.status, known.source_table)
                or excluded.source_newest > known.source_newest
                or excluded.last_error <> known.last_error
            """,
            outcomes,
        )


def prune(connection: Connection, table: StagingTable, keep: int) -> None:
    """Delete all but the newest `keep` bars of a symbol, in whole minutes; a digest of each deleted bar stays."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            with surplus as (
                select (timestamp / 60 + 1) * 60 as until
                from {table.relation}
                order by timestamp desc
                offset %(keep)s limit 1
            ),
            pruned as (
                delete from {table.relation}
                where timestamp < (select until from surplus)
                returning *
            )
            insert into ops.pruned_bars as known (symbol, timestamp, digest)
            select %(symbol)s, pruned.timestamp, {bar_digest("pruned", list(table.columns))}
            from pruned
            on conflict (symbol, timestamp) do update set digest = excluded.digest
            where known.digest <> excluded.digest
            """,
            {"keep": keep, "symbol": table.name},
        )


def bar_digest(bar: str, columns: Sequence[str]) -> str:
    """A Postgres expression over the alias `bar`: the first 16 bytes of the SHA-256 of the bar's columns."""
    values = ", ".join(f"{bar}.{identifier(name)}" for name in columns)
    return f"substring(sha256(convert_to(row({values})::text, 'UTF8')) from 1 for 16)"
