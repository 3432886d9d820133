"""Lands positions and history of an account, with what later syncs have to know of how they came."""

from __future__ import annotations

from extract.landing import Batch, StagingTable
from extract.quoting import literal
from extract.sources.accounts.items import Listing

MARKS = "staging.mt5_account_marks"
POSITIONS = StagingTable(
    "mt5_positions",
    ("account_id", "ticket"),
    {
        "account_id": "text",
        "ticket": "text",
        "payload": "jsonb",
        "is_listed": "boolean",
        "opened_volume": "numeric",
        "shrunk_after": "timestamptz",
    },
)
HISTORY = StagingTable(
    "mt5_history",
    ("account_id", "ticket", "part"),
    {"account_id": "text", "ticket": "text", "part": "text", "payload": "jsonb"},
    first_stamp="landed_at",
)


def land_history(batch: Batch, account: str, listing: Listing) -> None:
    """Land the rows of a history. A row that differs in what its part is known by replaces the one before.

    That is only so where the reply has all rows since the one before and not that one: else the two are parts.
    """
    if not listing.items:
        return
    incoming = (
        "select distinct on (ticket, staging.mt5_part(body::jsonb)) account_id, ticket,"
        " staging.mt5_part(body::jsonb) as part, body::jsonb as payload from mt5_found where kind = 'history'"
        " order by ticket, staging.mt5_part(body::jsonb), part"
    )
    if listing.is_whole and listing.part:
        batch.execute(
            f"delete from staging.mt5_history as known using ({incoming}) as found"
            f" where known.account_id = {literal(account)} and known.ticket = found.ticket and known.part <> ''"
            " and staging.try_timestamptz(coalesce(known.payload ->> 'close_time', known.payload ->> 'time_close'))"
            f" between {literal(listing.part.since.isoformat())} and {literal(listing.part.until.isoformat())}"
            f" and not exists (select from ({incoming}) as other"
            " where other.ticket = known.ticket and other.part = known.part)"
        )
    batch.upsert(HISTORY, incoming)


def land_positions(batch: Batch, account: str, listing: Listing) -> None:
    """Land a list of positions. One that a complete list no longer has stays, marked as not listed.

    `opened_volume` is the least volume that was ever opened: what the lists added, and at least what is listed and what
    had been closed before this sync. What the history of this sync has may have been closed after the list was made.
    """
    of_account, known_list = literal(account), f"(select listed_at from {MARKS} where account_id = {literal(account)})"
    if listing.items:
        closed = (
            "select greatest(sum(volume) filter (where entry is null),"
            " sum(volume) filter (where entry in ('1', '3', 'out', 'out_by', 'deal_entry_out', 'deal_entry_out_by')))"
            " as volume from (select (payload ->> 'volume')::numeric as volume, lower(payload ->> 'entry') as entry"
            f" from staging.mt5_history where account_id = {of_account} and position_key = found.ticket"
            f" and landed_at < {batch.stamp} and staging.mt5_kind(payload) in ('trade', 'deal')) as before"
        )
        batch.upsert(
            POSITIONS,
            "select found.account_id, found.ticket, found.payload, true as is_listed,"
            " greatest(known.opened_volume + greatest(found.volume - known.volume, 0),"
            " found.volume + coalesce(closed.volume, 0)) as opened_volume,"
            f" case when found.volume < known.volume then coalesce(known.shrunk_after, {known_list})"
            " else known.shrunk_after end as shrunk_after"
            " from (select account_id, ticket, body::jsonb as payload, (body::jsonb ->> 'volume')::numeric as volume"
            " from mt5_found where kind = 'positions') as found"
            " left join lateral (select opened_volume, shrunk_after, (payload ->> 'volume')::numeric as volume"
            f" from staging.mt5_positions where account_id = {of_account} and ticket = found.ticket) as known on true"
            f" cross join lateral ({closed}) as closed",
        )
    if listing.error is not None:
        return
    batch.execute(
        "update staging.mt5_positions as known set is_listed = false,"
        f" shrunk_after = coalesce(known.shrunk_after, {known_list}, {batch.stamp}), extracted_at = {batch.stamp}"
        f" where known.is_listed and known.account_id = {of_account}"
        " and not exists (select from mt5_found as found where found.kind = 'positions'"
        " and found.ticket = known.ticket)"
    )


def judge_again(batch: Batch, account: str) -> None:
    """Have SQL judge again what had come without a list of positions, now that there is a complete one.

    That is, of the history that landed since the list before, the positions that are listed; and of what landed with
    that list, too, those that no list ever had although the deals leave something open.
    """
    of_account = literal(account)
    known_list = f"coalesce((select listed_at from {MARKS} where account_id = {of_account}), '-infinity')"
    batch.execute(
        f"update staging.mt5_positions as known set extracted_at = {batch.stamp}"
        f" where known.account_id = {of_account} and known.is_listed and known.extracted_at < {batch.stamp}"
        f" and exists (select from staging.mt5_history as past where past.account_id = {of_account}"
        f" and past.position_key = known.ticket and past.landed_at > {known_list} and past.landed_at < {batch.stamp})"
    )
    batch.execute(
        f"update staging.mt5_history as past set extracted_at = {batch.stamp}"
        f" where past.account_id = {of_account} and past.landed_at >= {known_list}"
        f" and past.extracted_at < {batch.stamp} and past.payload ->> 'entry' is not null"
        " and not exists (select from staging.mt5_positions as known"
        f" where known.account_id = {of_account} and known.ticket = past.position_key)"
        " and 0 <> (select sum((other.payload ->> 'volume')::numeric"
        " * case when lower(other.payload ->> 'type') in ('0', 'buy', 'deal_type_buy') then 1 else -1 end)"
        f" from staging.mt5_history as other where other.account_id = {of_account}"
        " and other.position_key = past.position_key and staging.mt5_kind(other.payload) = 'deal')"
    )


def apply_clock(batch: Batch, account: str) -> None:
    """Have all rows of an account computed again where its broker's clock has been set anew."""
    for table in ("mt5_positions", "mt5_history"):
        batch.execute(
            f"update staging.{table} as known set extracted_at = {batch.stamp}"
            f" from accounts.registered_accounts as account, {MARKS} as mark"
            f" where known.account_id = {literal(account)} and account.id = known.account_id"
            f" and mark.account_id = known.account_id and known.extracted_at < {batch.stamp}"
            " and account.server_utc_offset is distinct from mark.server_utc_offset"
        )
