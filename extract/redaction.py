"""Masks passwords in addresses and error messages."""

from __future__ import annotations

import re
from contextlib import suppress
from urllib.parse import quote

import psycopg2
import psycopg2.extensions

from extract.errors import WarehouseError

SHORTEST_MASKED = 4
"""Characters from which on a secret is masked anywhere. A shorter one may be part of a word: in addresses only."""
PASSWORD_IN_ADDRESS = re.compile(r"(://[^/?#@\s]*?:)[^/?#@\s]*(?=@)")
PASSWORD_BY_NAME = re.compile(r"""\b((?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&'"]*)""", re.IGNORECASE)


def redacted(uri: str) -> str:
    """The URI (or a keyword string) with its passwords masked, for a terminal or a log."""
    uri = re.sub(r"(?<=://)([^/?#@]*?:)[^/?#]*@", r"\1***@", uri)
    return PASSWORD_BY_NAME.sub(r"\1***", uri)


def complaint(error: BaseException, uri: str) -> str:
    """The error message of the server, libpq or DuckDB on one line, without the password."""
    # DuckDB quotes the whole statement, which may be pages long
    words = re.sub(r'(Failed to [\w ]+?) ".*": ', r"\1: ", str(error), flags=re.DOTALL)
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    text = "; ".join(lines) or type(error).__name__
    with suppress(psycopg2.Error):
        given = psycopg2.extensions.parse_dsn(uri)
        for name in ("password", "sslpassword"):
            text = _masked(text, given.get(name, ""))
    return PASSWORD_BY_NAME.sub(r"\1***", PASSWORD_IN_ADDRESS.sub(r"\1***", text))


def require_plausible_uri(uri: str) -> None:
    """Raise an error if dbt cannot use the URI, or if libpq would misread it and quote part of the password.

    Raises:
        WarehouseError: the URI is one of those.
    """
    try:
        given = psycopg2.extensions.parse_dsn(uri)
        ports = given.get("port", "")
        usable = uri.split("?", 1)[0].count("@") <= 1 and all(port.isdecimal() for port in ports.split(",") if port)
    except psycopg2.Error:
        usable = False
    if not usable:
        raise WarehouseError(
            "POSTGRESQL_URI is no usable libpq URI: expected postgresql://user:password@host:port/database, with "
            "special characters of the password percent-encoded (@ as %40, / as %2F)"
        )
    if "sslpassword" in given:
        raise WarehouseError(
            "POSTGRESQL_URI: dbt cannot be told sslpassword; give sslkey a file without a password that only you can "
            "read (openssl pkey -in client.key -out plain.key)"
        )


def _masked(text: str, secret: str) -> str:
    if len(secret) < SHORTEST_MASKED:
        return text
    in_dsn = secret.replace("\\", "\\\\").replace("'", "\\'")
    for form in {secret, quote(secret, safe=""), quote(secret), in_dsn}:
        text = text.replace(form, "***")
    return text
