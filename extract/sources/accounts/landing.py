"""Lands the API's replies, account by account."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import psycopg2

from extract.landing import Batch, StagingTable, landing
from extract.quoting import literal
from extract.records import RETENTION_DAYS, Run
from extract.rejects import Reject, dismissed
from extract.rest import printable
from extract.sources.accounts.client import Listing
from extract.sources.accounts.poll import AccountResult
from extract.warehouse import Connection, may_pass

log = logging.getLogger("tradehouse")

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
    """Land a batch of accounts and the result of each; return how many rows were new or different.

    It is one transaction. If one account fails, its rows are undone and its result has the reason; the others land.

    Raises:
        psycopg2.Error: the connection or the server failed, and nothing has landed.
    """
    with landing(run) as batch:
        polled = [each for each in results if not each.skipped]
        changed = sum(_land_account(batch, each) for each in polled)
        _move_marks(batch, polled)
        listings = [listing for each in polled if not each.not_landed for listing in each.listings.values()]
        run.count(
            rows_read=sum(len(listing.items) for listing in listings),
            rows_changed=changed,
            rows_rejected=sum(listing.rejected for listing in listings),
        )
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


def _land_account(batch: Batch, result: AccountResult) -> int:
    """Land an account, all of it or nothing; return how many rows were new or different."""
    try:
        with batch.apart():
            return _land_items(batch, result)
    except Exception as error:
        if isinstance(error, psycopg2.Error) and may_pass(error):
            raise
        log.debug("unexpected", exc_info=True)
        result.not_landed = printable(str(error)) or type(error).__name__
        return 0


def _land_items(batch: Batch, result: AccountResult) -> int:
    """Land the replies of the endpoints. A position that a complete list no longer has stays, marked as not listed."""
    account, listings, before = result.account_id, result.listings, batch.written
    found = [(account, kind, *item) for kind, listing in listings.items() for item in listing.items.items()]
    batch.copy("mt5_found", FOUND, found)
    for kind, ticket in batch.take_out_invalid_json("mt5_found", "body", ["kind", "ticket"]):
        body = listings[kind].items.pop(ticket)
        listings[kind].reject(Reject(ticket, "payload", "not valid JSON for Postgres", body))
    _forget_dismissed(batch, account, listings)
    for kind, table in (("info", INFO), ("positions", POSITIONS), ("history", HISTORY)):
        if listings[kind].items:
            batch.upsert(
                table,
                f"select {', '.join(table.columns)} from ("
                "select account_id, ticket, body::jsonb as payload, true as is_listed"
                f" from mt5_found where kind = {literal(kind)}) as found",
            )
    if listings["positions"].error is None:
        batch.execute(
            f"update staging.mt5_positions as known set is_listed = false, extracted_at = {batch.stamp}"
            f" where known.is_listed and known.account_id = {literal(account)}"
            " and not exists (select from mt5_found as found where found.kind = 'positions'"
            " and found.ticket = known.ticket)"
        )
    changed = batch.written - before
    _record_rejects(batch, account, listings)
    return changed


def _forget_dismissed(batch: Batch, account: str, listings: Mapping[str, Listing]) -> None:
    """Leave out dismissed rejects that have not changed, so that they do not make the account partial."""
    keys = {_reject_key(kind, key): (kind, (key, field)) for kind, of in listings.items() for key, field in of.rejects}
    if not keys:
        return
    for row_key, column, reason, original in dismissed(batch.connection, SOURCE, account, list(keys)):
        kind, (key, _) = keys[row_key]
        reject = listings[kind].rejects.get((key, column))
        if reject and (reject.reason, reject.payload) == (reason, original):
            del listings[kind].rejects[key, column]


def _record_rejects(batch: Batch, account: str, listings: Mapping[str, Listing]) -> None:
    """Record the rejects. Resolve those that a complete reply no longer has, or whose item can land now."""
    found = [
        (account, _reject_key(kind, reject.key), reject.field, reject.reason, reject.payload)
        for kind, listing in listings.items()
        for reject in listing.rejects.values()
    ]
    whole = ", ".join(literal(kind) for kind, listing in listings.items() if listing.is_whole)
    batch.record_rejects(
        found,
        f"known.entity = {literal(account)} and ("
        " known.row_key in (select trim(kind || ' ' || ticket) from mt5_found)"
        " or known.row_key in (select row_key from rejects_found)"
        f" or known.dismissed_at is null and split_part(known.row_key, ' ', 1) = any(array[{whole}]::text[]))",
    )


def _reject_key(kind: str, key: str) -> str:
    """An item's key among the rejects of its account."""
    return f"{kind} {key}".strip()


def _move_marks(batch: Batch, results: Sequence[AccountResult]) -> None:
    """Store the time of the attempt, and how far the history has been read; a failed history does not change that."""
    batch.copy(
        "mt5_marks",
        {"account_id": "text", "attempted_at": "timestamptz", "history_until": "timestamptz"},
        [(each.account_id, each.started_at, each.started_at if _has_history(each) else None) for each in results],
    )
    batch.execute(
        "insert into staging.mt5_account_marks as known (account_id, attempted_at, history_until)"
        " select account_id, attempted_at, history_until from mt5_marks"
        " on conflict (account_id) do update set attempted_at = excluded.attempted_at,"
        " history_until = coalesce(excluded.history_until, known.history_until)"
    )


def _has_history(result: AccountResult) -> bool:
    return result.not_landed is None and result.listings["history"].error is None


def prune_results(connection: Connection) -> None:
    """Delete old results, except the last success of each account, which `trading_accounts` shows."""
    with connection.cursor() as cursor:
        cursor.execute(
            "delete from staging.mt5_sync_results as old"
            " where started_at < clock_timestamp() - make_interval(days => %s)"
            " and run_id is distinct from (select max(run_id) from staging.mt5_sync_results as success"
            " where success.account_id = old.account_id and success.status = 'success')",
            (RETENTION_DAYS,),
        )
