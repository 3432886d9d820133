"""Instrument masters and lists of expired contracts: read row by row, landed as they came."""

from __future__ import annotations

import codecs
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from extract.landing import Batch, StagingTable, landing
from extract.quoting import literal
from extract.records import Run
from extract.rejects import MOST_KEPT, Reject, digest
from extract.rest import UnavailableError

EXPIRED = "expired"
"""The master of contracts that come from the lists of expired ones."""
INSTRUMENTS = StagingTable(
    "upstox_instruments",
    ("instrument_key", "expiry"),
    {"instrument_key": "text", "expiry": "text", "master": "text", "payload": "jsonb", "is_listed": "boolean"},
)
PIECE = 1 << 20
"""Bytes decompressed at once."""
LONGEST_KEY = 200
LONGEST_ITEM = 1 << 22
IN_MEMORY = 8 * 1024 * 1024
"""Bytes of rows kept in memory; more go to a file."""


@dataclass
class Landed:
    """What a landed list brought; `linked` are pairs of a new key and the one whose instrument it took over."""

    rows_read: int = 0
    rows_changed: int = 0
    rows_rejected: int = 0
    linked: list[tuple[str, str]] = field(default_factory=list)


def items_of(body: bytes) -> Iterator[tuple[str, Any]]:
    """The items of a JSON array that may be compressed, each as its text and parsed; one at a time in memory.

    Raises:
        UnavailableError: damaged, or cut off.
    """
    decoder = json.JSONDecoder()
    text, place, begun, ended = "", 0, False, False
    for piece in _pieces(body):
        text, place = "" if ended else text[place:] + piece, 0
        if len(text) > LONGEST_ITEM + PIECE:
            raise UnavailableError("an instrument master holds no items but one that does not end")
        while True:
            place = _skip(text, place)
            if not begun:
                if text[place : place + 1] == "[":
                    begun, place = True, place + 1
                    continue
                if place < len(text):
                    raise UnavailableError("an instrument master is no JSON array")
                break
            if ended or text[place : place + 1] == "]":
                ended = True
                break
            try:
                item, end = decoder.raw_decode(text, place)
            except ValueError:
                break  # the item goes on in the next piece
            except RecursionError:
                raise UnavailableError("an instrument master is nested too deep") from None
            if end == len(text):
                break  # a number might go on
            yield text[place:end], item
            place = end
    if not ended:
        raise UnavailableError("an instrument master ends before its end, or is damaged")


def _skip(text: str, place: int) -> int:
    """The next place that is neither blank nor a comma."""
    while place < len(text) and text[place] in " \t\r\n,":
        place += 1
    return place


def _pieces(body: bytes) -> Iterator[str]:
    """The text, decompressed piece by piece if it is gzip."""
    utf8 = codecs.getincrementaldecoder("utf-8")()
    try:
        if body[:2] != b"\x1f\x8b":
            yield body.decode()
            return
        gzip = zlib.decompressobj(wbits=31)
        rest = body
        while rest and not gzip.eof:
            yield utf8.decode(gzip.decompress(rest, PIECE))
            rest = gzip.unconsumed_tail
        yield utf8.decode(gzip.flush())
        if not gzip.eof:
            raise UnavailableError("an instrument master ends before its end")
    except (zlib.error, UnicodeDecodeError):
        raise UnavailableError("an instrument master is damaged") from None


def land_master(run: Run, master: str, body: bytes) -> Landed:
    """Land an instrument master in one transaction: its rows, which left it, and the numbers of new keys.

    Raises:
        UnavailableError: damaged, cut off, or empty.
    """
    with _spooled() as rows:
        rejects, read = _write(rows, master, (each for each in items_of(body) if not _is_test(each[1])))
        if not read:
            raise UnavailableError(f"the instrument master {master} holds no instruments")
        with landing(run) as batch:
            landed = _land(batch, master, rows, rejects, read)
            batch.execute(
                f"update staging.upstox_instruments as known set is_listed = false, extracted_at = {batch.stamp}"
                f" where master = {literal(master)} and is_listed and not exists ("
                "select from instruments_found as found"
                " where found.instrument_key = known.instrument_key and found.expiry = known.expiry)"
            )
            _finish(run, batch, landed, f"master {master}")
    return landed


def land_contracts(run: Run, underlying: str, expiry: str, contracts: Iterable[Any]) -> Landed:
    """Land the list of an expiry's contracts, and that it was read, in one transaction."""
    with _spooled() as rows:
        given = ((json.dumps(each), each) for each in contracts)
        rejects, read = _write(rows, EXPIRED, given, expiry=expiry)
        with landing(run) as batch:
            landed = _land(batch, EXPIRED, rows, rejects, read)
            with run.connection.cursor() as cursor:
                cursor.execute(
                    "update staging.upstox_expiries set listed_at = clock_timestamp()"
                    " where underlying_key = %s and expiry_date = %s",
                    (underlying, expiry),
                )
            _finish(run, batch, landed, None)
    return landed


def _spooled() -> IO[bytes]:
    return SpooledTemporaryFile(max_size=IN_MEMORY)


def _write(
    rows: IO[bytes], master: str, items: Iterable[tuple[str, Any]], expiry: str | None = None
) -> tuple[list[Reject], int]:
    """Write rows as `landing.CSV_FORMAT` has them; return the rejects and how many rows there were."""
    rejects: list[Reject] = []
    seen: set[tuple[str, str]] = set()
    read = 0
    quote = b"\x01"
    listed = b"f" if master == EXPIRED else b"t"
    for text, item in items:
        read += 1
        key = item.get("instrument_key") if isinstance(item, dict) else None
        if not isinstance(key, str) or not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
            rejects.append(Reject(digest(text), "instrument_key", "no instrument_key", text))
            continue
        until = str(item.get("expiry") or "") if expiry is None else expiry
        if (key, until) in seen:
            continue
        seen.add((key, until))
        fields = (key.encode(), until.encode(errors="replace"), master.encode(), text.encode(errors="replace"), listed)
        rows.write(b",".join(quote + each.replace(quote, b"") + quote for each in fields) + b"\n")
    rows.seek(0)
    return rejects[:MOST_KEPT], read


def _land(batch: Batch, master: str, rows: IO[bytes], rejects: list[Reject], read: int) -> Landed:
    batch.copy("instruments_found", {**INSTRUMENTS.columns, "payload": "text"}, rows)
    invalid = batch.take_out_invalid_json("instruments_found", "payload", ["instrument_key", "payload"])
    rejects += [Reject(key, "payload", "not valid JSON for Postgres", payload) for key, payload in invalid]
    batch.upsert(
        INSTRUMENTS,
        "select instrument_key, expiry, master, payload::jsonb as payload, is_listed from instruments_found",
    )
    changed = batch.written
    entity = f"instruments {master}"
    batch.record_rejects(
        [(entity, each.key, each.field, each.reason, each.payload) for each in rejects],
        f"known.entity = {literal(entity)}" if master != EXPIRED else "false",
    )
    return Landed(read, changed, len(rejects))


def _finish(run: Run, batch: Batch, landed: Landed, part: str | None) -> None:
    """Give numbers to new keys, note that the part was read, and count."""
    with run.connection.cursor() as cursor:
        cursor.execute(f"select new_key, old_key from staging.upstox_identify({batch.stamp})")
        landed.linked = list(cursor.fetchall())
        if part is not None:
            cursor.execute(
                "insert into staging.upstox_parts as known (part, completed_at) values (%s, clock_timestamp())"
                " on conflict (part) do update set completed_at = excluded.completed_at",
                (part,),
            )
    run.count(rows_read=landed.rows_read, rows_changed=landed.rows_changed, rows_rejected=landed.rows_rejected)


def _is_test(item: Any) -> bool:
    """Whether it is one of the exchanges' own test instruments."""
    if not isinstance(item, dict):
        return False
    symbol, underlying = str(item.get("trading_symbol") or ""), str(item.get("underlying_symbol") or "")
    return "NSETEST" in symbol or "BSETEST" in symbol or underlying.startswith("DUMMY") or symbol.startswith("DUMMY")
