"""What the accounts service said, landed account by account."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from extract.landing import RowBatch, StagingTable, landing_rows
from extract.quoting import literal
from extract.records import RETENTION_DAYS, Run
from extract.rejects import open_rejects
from extract.rest import Unusable
from extract.sources.accounts.client import Listing
from extract.sources.accounts.poll import AccountResult
from extract.warehouse import Connection

SOURCE = "accounts"
INFO = StagingTable("mt5_account_info", ("account_id",), {"account_id": "text", "payload": "jsonb"})
POSITIONS = StagingTable(
    "mt5_positions",
    ("account_id", "ticket"),
    {"account_id": "text", "ticket": "text", "payload": "jsonb", "is_listed": "boolean"},
)
HISTORY = StagingTable(
    "mt5_history",
    ("account_id", "ticket"),
    {"account_id": "text", "ticket": "text", "payload": "jsonb"},
    first_stamp="landed_at",
)
RESULTS = StagingTable(
    "mt5_sync_results",
    ("account_id", "run_id"),
    {
        "run_id": "bigint",
        "account_id": "text",
        "sync_type": "text",
        "started_at": "timestamptz",
        "completed_at": "timestamptz",
        "status": "text",
        "trades_synced": "integer",
        "error_message": "text",
    },
)
FOUND = {"account_id": "text", "kind": "text", "ticket": "text", "body": "text"}
"""One item of a reply; `kind` is the endpoint."""


def land(run: Run, results: Sequence[AccountResult], sync_type: str) -> int:
    """Land a batch with how its accounts fared, all or nothing; return how many rows were new or different."""
    with landing_rows(run) as batch:
        changed = _land_items(run, batch, [result for result in results if not result.skipped])
        batch.copy(
            "mt5_results",
            RESULTS.columns,
            [
                (
                    run.run_id,
                    each.account_id,
                    sync_type,
                    each.started_at,
                    each.completed_at,
                    each.status,
                    each.trades_synced,
                    each.error_message,
                )
                for each in results
            ],
        )
        batch.upsert(RESULTS, "select * from mt5_results")
    return changed


def _land_items(run: Run, batch: RowBatch, results: Sequence[AccountResult]) -> int:
    """Land what the endpoints said. Positions that a complete list no longer has stay, as not listed."""
    listings = [(each.account_id, kind, listing) for each in results for kind, listing in each.listings.items()]
    batch.copy(
        "mt5_found",
        FOUND,
        [(account, kind, *item) for account, kind, listing in listings for item in listing.items.items()],
    )
    by_kind = {(account, kind): listing for account, kind, listing in listings}
    for account, kind, ticket in batch.take_out_refused("mt5_found", "body", ["account_id", "kind", "ticket"]):
        body = by_kind[account, kind].items.pop(ticket)
        refused = Unusable(ticket, "payload", "Postgres does not take it for JSON", body)
        by_kind[account, kind].unusable.append(refused)
    for kind, table in (("info", INFO), ("positions", POSITIONS), ("history", HISTORY)):
        batch.upsert(
            table,
            f"select {', '.join(table.columns)} from ("
            "select account_id, ticket, body::jsonb as payload, true as is_listed"
            f" from mt5_found where kind = {literal(kind)}) as found",
        )
    complete = [account for account, kind, listing in listings if kind == "positions" and listing.error is None]
    batch.execute(
        f"update staging.mt5_positions as known set is_listed = false, extracted_at = {batch.stamp}"
        f" where known.is_listed and known.account_id = any(array[{', '.join(map(literal, complete))}]::text[])"
        " and not exists (select from mt5_found as found where found.kind = 'positions'"
        " and found.account_id = known.account_id and found.ticket = known.ticket)"
    )
    changed = batch.written
    _record_rejects(run, batch, listings)
    _move_marks(batch, results)
    run.count(
        rows_read=sum(len(listing.items) for _, _, listing in listings),
        rows_changed=changed,
        rows_rejected=sum(len(listing.unusable) for _, _, listing in listings),
    )
    return changed


def _record_rejects(run: Run, batch: RowBatch, listings: Iterable[tuple[str, str, Listing]]) -> None:
    """Write down what cannot land; what a complete answer no longer has, or has as it should be, is resolved."""
    known = open_rejects(run.connection, SOURCE)
    found, gone = [], []
    for account, kind, listing in listings:
        rejects = [
            (account, f"{kind} {item.key}".strip(), item.field, item.reason, item.payload) for item in listing.unusable
        ]
        found += [reject for reject in rejects if reject not in known]
        usable = {f"{kind} {ticket}".strip() for ticket in listing.items}
        gone += [
            reject[:3]
            for reject in known
            if reject[0] == account
            and reject[1].split()[0] == kind
            and reject not in rejects
            and (listing.error is None or reject[1] in usable)
        ]
    batch.record_rejects(found, gone)


def _move_marks(batch: RowBatch, results: Sequence[AccountResult]) -> None:
    """Note the attempt, and how far the history is known: a failed history leaves that where it was."""
    batch.copy(
        "mt5_marks",
        {"account_id": "text", "attempted_at": "timestamptz", "history_until": "timestamptz"},
        [
            (each.account_id, each.started_at, each.started_at if each.listings["history"].error is None else None)
            for each in results
        ],
    )
    batch.execute(
        "insert into staging.mt5_account_marks as known (account_id, attempted_at, history_until)"
        " select account_id, attempted_at, history_until from mt5_marks"
        " on conflict (account_id) do update set attempted_at = excluded.attempted_at,"
        " history_until = coalesce(excluded.history_until, known.history_until)"
    )


def prune_results(connection: Connection) -> None:
    """Let go of old results, but for the last success of each account, which `trading_accounts` tells."""
    with connection.cursor() as cursor:
        cursor.execute(
            "delete from staging.mt5_sync_results as old"
            " where started_at < clock_timestamp() - make_interval(days => %s)"
            " and run_id is distinct from (select max(run_id) from staging.mt5_sync_results as success"
            " where success.account_id = old.account_id and success.status = 'success')",
            (RETENTION_DAYS,),
        )
