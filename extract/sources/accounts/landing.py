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
from extract.sources.accounts.client import CLOCKS_APART
from extract.sources.accounts.items import Listing
from extract.sources.accounts.landing_trades import apply_clock, judge_again, land_history, land_positions
from extract.sources.accounts.poll import AccountResult
from extract.warehouse import Connection, may_pass

log = logging.getLogger("tradehouse")

SOURCE = "accounts"
INFO = StagingTable("mt5_account_info", ("account_id",), {"account_id": "text", "payload": "jsonb"})
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
        "execution_id": "uuid",
    },
)
FOUND = {"account_id": "text", "kind": "text", "ticket": "text", "part": "text", "body": "text"}
"""One item of a reply; `kind` is the endpoint, and `part` tells items with one ticket apart."""


def land(run: Run, results: Sequence[AccountResult], sync_type: str, execution_id: str) -> int:
    """Land a batch of accounts and the result of each; return how many rows were new or different.

    It is one transaction. If one account fails, its rows are undone and its result has the reason; the others land.

    Raises:
        psycopg2.Error: the connection or the server failed, and nothing has landed.
    """
    with landing(run) as batch:
        polled = [each for each in results if each.listings and not each.skipped]
        changed = sum(_land_account(batch, each) for each in polled)
        _move_marks(batch, [each for each in results if each.listings])
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
                    execution_id,
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
    found = [(account, kind, *key, body) for kind, listing in listings.items() for key, body in listing.items.items()]
    batch.copy("mt5_found", FOUND, found)
    for kind, ticket, part in batch.take_out_invalid_json("mt5_found", "body", ["kind", "ticket", "part"]):
        body = listings[kind].items.pop((ticket, part))
        listings[kind].reject(Reject(ticket, "payload", "not valid JSON for Postgres", body))
    _forget_dismissed(batch, account, listings)
    if listings["info"].items:
        batch.upsert(INFO, "select account_id, body::jsonb as payload from mt5_found where kind = 'info'")
    of_trades = batch.written
    land_history(batch, account, listings["history"])
    land_positions(batch, account, listings["positions"])
    result.trades_synced = batch.written - of_trades
    changed = batch.written - before
    if of_trades > before:
        newest = f"staging.mt5_account_info where account_id = {literal(account)}"
        batch.execute(f"insert into staging.mt5_equity select account_id, payload, {batch.stamp} from {newest}")
    if listings["positions"].error is None:
        judge_again(batch, account)
    apply_clock(batch, account)
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
    """Store when each account was asked, and how far its balance, its positions and its history have been read.

    An account whose time ran out was asked, too: it does not head the next run. A failed history moves no mark. One
    that ended early is gone on with, and moves the mark at its end, unless it had rejects: their rows are asked for
    again.
    """
    rows = []
    for each in results:
        history, positions = each.listings["history"], each.listings["positions"]
        landed, part = each.not_landed is None and each.skipped is None, history.part
        is_read = landed and part is not None and history.error is None
        goes_on = landed and part is not None and history.failure is not None and part.offset > 0
        rows.append(
            (
                each.account_id,
                each.started_at,
                part.until - CLOCKS_APART if part and is_read else None,
                bool(part and part.began),
                landed and positions.error is None,
                landed and bool(each.listings["info"].items),
                landed and part is not None and not (history.failure and part.offset == part.began == 0),
                *((part.since, part.until, part.offset) if part and goes_on else (None, None, None)),
            )
        )
    columns = {
        "account_id": "text",
        "attempted_at": "timestamptz",
        "history_until": "timestamptz",
        "is_rest": "boolean",
        "is_list": "boolean",
        "is_info": "boolean",
        "is_asked": "boolean",
        "history_from": "timestamptz",
        "history_to": "timestamptz",
        "history_offset": "integer",
    }
    batch.copy("mt5_marks", columns, rows)
    batch.execute(
        "insert into staging.mt5_account_marks as known (account_id, attempted_at, history_until, listed_at,"
        " balance_at, server_utc_offset, history_from, history_to, history_offset)"
        " select mark.account_id, mark.attempted_at, case when not (mark.is_rest and exists (select from"
        f" ops.rejected_rows as reject where reject.source = {literal(SOURCE)} and reject.entity = mark.account_id"
        " and reject.row_key like 'history %' and reject.resolved_at is null)) then mark.history_until end,"
        f" case when mark.is_list then {batch.stamp} end, case when mark.is_info then mark.attempted_at end,"
        " account.server_utc_offset,"
        " mark.history_from, mark.history_to, mark.history_offset"
        " from mt5_marks as mark left join accounts.registered_accounts as account on account.id = mark.account_id"
        " on conflict (account_id) do update set attempted_at = excluded.attempted_at,"
        " history_until = coalesce(excluded.history_until, known.history_until),"
        " listed_at = coalesce(excluded.listed_at, known.listed_at),"
        " balance_at = coalesce(excluded.balance_at, known.balance_at),"
        " server_utc_offset = excluded.server_utc_offset"
    )
    batch.execute(
        "update staging.mt5_account_marks as known set history_from = mark.history_from,"
        " history_to = mark.history_to, history_offset = mark.history_offset"
        " from mt5_marks as mark where mark.account_id = known.account_id and mark.is_asked"
    )


def prune(connection: Connection) -> None:
    """Delete old results, except the last success of each account, which `trading_accounts` shows, and old infos."""
    with connection.cursor() as cursor:
        cursor.execute("select to_regclass('accounts.equity') is not null")
        if cursor.fetchone() == (True,):  # only what that has
            cursor.execute(
                "delete from staging.mt5_equity where extracted_at < least(clock_timestamp() - interval '2 days',"
                " (select max(synced_at) from accounts.equity))"
            )
        cursor.execute(
            "delete from staging.mt5_sync_results as old"
            " where started_at < clock_timestamp() - make_interval(days => %s)"
            " and run_id is distinct from (select max(run_id) from staging.mt5_sync_results as success"
            " where success.account_id = old.account_id and success.status = 'success')",
            (RETENTION_DAYS,),
        )
