"""A database with the roles of sql/roles.sql, and what each of them may do.

Its owner is no superuser, which is what most hosting gives one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

import psycopg2
import psycopg2.errors
import pytest

from tests.support.servers import DEBIAN_PASSWORD, administer
from tests.support.world import ROOT

DATABASE = "least_privilege"
OWNER, PIPELINE, READER = "roles_owner", "roles_pipeline", "roles_reader"
CUSTOMERS, API = "roles_customers", "roles_api"
GROUPS = (
    "tradehouse_loader",
    "tradehouse_transformer",
    "tradehouse_api",
    "tradehouse_reader",
    "tradehouse_accounts_reader",
)
SCRIPT = ROOT / "sql" / "roles.sql"


@dataclass(frozen=True)
class Tenants:
    """The URIs of a database with roles: its owner, the pipeline, the readers, the API, and a superuser."""

    owner: str
    pipeline: str
    reader: str
    customers: str  # reads the schema accounts
    api: str
    superuser: str


def drop_roles(server_uri: str) -> None:
    """Roles belong to the server, not to the database: leave none behind."""
    administer(server_uri, [f"drop database if exists {DATABASE} with (force)"])
    for role in (PIPELINE, READER, CUSTOMERS, API, *GROUPS, OWNER):
        # an owner without the right to make roles granted what a plain drop would trip over
        with suppress(psycopg2.errors.UndefinedObject):
            administer(server_uri, [f"drop owned by {role}", f"drop role {role}"])


def run_as(uri: str, sql: str) -> list[tuple[object, ...]]:
    """Run statements as the role of the URI, in a transaction; return the last one's rows, if it has any."""
    with closing(psycopg2.connect(uri)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        rows = list(cursor.fetchall()) if cursor.description else []
        connection.commit()
    return rows


@contextmanager
def tenants_on(server_uri: str) -> Iterator[Tenants]:
    """A database whose owner, no superuser, has followed the steps at the head of roles.sql."""
    drop_roles(server_uri)
    administer(
        server_uri,
        [
            f"create role {OWNER} login createrole password '{DEBIAN_PASSWORD}'",
            f"create database {DATABASE} owner {OWNER}",
        ],
    )

    def uri(role: str) -> str:
        return server_uri.replace("//postgres", f"//{role}").format(database=DATABASE)

    superuser = server_uri.format(database=DATABASE)
    uris = Tenants(uri(OWNER), uri(PIPELINE), uri(READER), uri(CUSTOMERS), uri(API), superuser)
    run_as(uris.owner, SCRIPT.read_text(encoding="utf-8"))
    run_as(
        uris.owner,
        f"create role {PIPELINE} login password '{DEBIAN_PASSWORD}';"
        f"create role {READER} login password '{DEBIAN_PASSWORD}';"
        f"create role {CUSTOMERS} login password '{DEBIAN_PASSWORD}';"
        f"create role {API} login password '{DEBIAN_PASSWORD}';"
        f"grant tradehouse_loader, tradehouse_transformer to {PIPELINE};"
        f"grant tradehouse_reader to {READER}; grant tradehouse_accounts_reader to {CUSTOMERS};"
        f"grant tradehouse_api to {API}",
    )
    run_as(uris.owner, SCRIPT.read_text(encoding="utf-8"))
    try:
        yield uris
    finally:
        drop_roles(server_uri)


def count(uri: str, relation: str) -> int:
    """The rows of a relation, as the role of the URI sees them."""
    [(rows,)] = run_as(uri, f"select count(*) from {relation}")
    assert isinstance(rows, int)
    return rows


def may_not(uri: str, *statements: str) -> None:
    """Demand that each of them is refused for want of a right."""
    for statement in statements:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            run_as(uri, statement)
