"""Keys of the HTTP API, in `ops.api_keys`. A key is shown once, when it is made; only its SHA-256 is kept.

Keys are hashed here and not by Postgres, so that a server which logs its statements never sees one.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime

import psycopg2.errors

from extract.errors import TradehouseError
from extract.warehouse import Connection, value

PREFIX = "tradehouse_"
"""What every key begins with, so that people and secret scanners recognise one."""


class ApiKeyError(TradehouseError):
    """A key cannot be made or revoked; the message says why."""


@dataclass(frozen=True)
class ApiKey:
    """A row of `ops.api_keys` without the hash; `state` is active, expired or revoked."""

    name: str
    tier: str
    state: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


def add(connection: Connection, name: str, tier: str, expires_at: datetime | None = None) -> str:
    """Make a key and return it: `PREFIX` and 256 random bits in 43 characters.

    Args:
        connection: in autocommit.
        name: of whoever uses it; not one of a key that is not revoked.
        tier: a tier of `api.tiers`, in any case.
        expires_at: from when on it is no longer valid; None for never.

    Raises:
        ApiKeyError: there is no such tier or no tiers yet, the name is taken, or `expires_at` is over.
    """
    known = tiers(connection)
    if tier.upper() not in known:
        raise ApiKeyError(f"there is no tier {tier!r}; expected one of {', '.join(known)}")
    if expires_at is not None and value(connection, "select %s <= clock_timestamp()", expires_at):
        raise ApiKeyError(f"the key would have expired already at {expires_at:%Y-%m-%d %H:%M} UTC")
    key = PREFIX + secrets.token_urlsafe(32)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "insert into ops.api_keys (key_hash, name, tier, expires_at) values (%s, %s, %s, %s)",
                (hashlib.sha256(key.encode()).digest(), name, tier.upper(), expires_at),
            )
    except psycopg2.errors.UniqueViolation:
        raise ApiKeyError(f"there is a key of the name {name!r} already; revoke it, or choose another name") from None
    return key


def tiers(connection: Connection) -> list[str]:
    """The names of the tiers.

    Raises:
        ApiKeyError: dbt has not built them yet.
    """
    if value(connection, "select to_regclass('api.tiers') is null"):
        raise ApiKeyError("the warehouse has no tiers yet: run tradehouse sync, which builds them")
    with connection.cursor() as cursor:
        cursor.execute("select tier from api.tiers order by tier")
        return [tier for (tier,) in cursor.fetchall()]


def listed(connection: Connection) -> list[ApiKey]:
    """All keys, the newest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select name, tier, case when revoked_at is not null then 'revoked'"
            " when expires_at <= clock_timestamp() then 'expired' else 'active' end,"
            " created_at, expires_at, revoked_at, last_used_at"
            " from ops.api_keys order by created_at desc, name"
        )
        return [ApiKey(*row) for row in cursor.fetchall()]


def revoke(connection: Connection, name: str) -> None:
    """Revoke the key of a name, at once and for good.

    Raises:
        ApiKeyError: no key of this name is left to revoke.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "update ops.api_keys set revoked_at = clock_timestamp() where name = %s and revoked_at is null", (name,)
        )
        if not cursor.rowcount:
            raise ApiKeyError(f"there is no key of the name {name!r} that is not revoked")
