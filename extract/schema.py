"""Creates what landing needs in the warehouse: schemas, run records, the staging tables of every source."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2

from extract.errors import WarehouseError
from extract.pooling import require_session_pooling
from extract.project_files import schema_script
from extract.quoting import identifier, literal
from extract.settings import Columns, Project, Settings
from extract.warehouse import (
    Connection,
    Warehouse,
    advisory_lock,
    complaint,
    lock_key,
    open_warehouse,
    value,
    warehouse_error,
)


def prepare(warehouse: Warehouse, connection: Connection, project: Project | None) -> None:
    """Create what is missing or out of date: `sql/warehouse.sql`, then each file of `sql/staging/`.

    If everything is up to date, this costs a few look-ups and changes nothing.

    Args:
        warehouse: its URI, so that errors can hide the password.
        connection: in autocommit.
        project: the symbols and the columns of their staging tables; None to leave those tables out.

    Raises:
        WarehouseError: the role lacks a right, or the server reports an error.
    """
    statements = [schema_script(), *(staging_ddl(project) if project else [])]
    digest = hashlib.sha256("".join(statements).encode()).hexdigest()[:12]
    version = f"Run records and rejects of the pipeline (sql {digest})"
    staging = [f"staging.{symbol}" for symbol in (project.symbols if project else ())]
    try:
        missing = value(
            connection, "select count(*) from unnest(%s::text[]) as name where to_regclass(name) is null", staging
        )
        if missing or value(connection, "select obj_description(to_regnamespace('ops'), 'pg_namespace')") != version:
            with connection.cursor() as cursor, advisory_lock(connection, lock_key("schema")):
                for statement in statements:
                    cursor.execute(statement)
                cursor.execute("comment on schema ops is %s", (version,))
        if not value(connection, "select has_schema_privilege('public', 'create')"):
            raise psycopg2.errors.InsufficientPrivilege("permission denied for schema public")
    except psycopg2.errors.InsufficientPrivilege as error:
        info = connection.info
        raise WarehouseError(
            f"role {info.user} lacks a right in database {info.dbname}: {complaint(error, warehouse.uri)}. "
            f"Its owner can run: grant create on database {info.dbname} to {info.user}; "
            f"grant create, usage on schema public to {info.user}; or set up the roles of sql/roles.sql"
        ) from None
    except psycopg2.Error as error:
        raise WarehouseError(f"cannot prepare the warehouse: {complaint(error, warehouse.uri)}") from None


@contextmanager
def prepared(settings: Settings, project: Project, purpose: str) -> Iterator[Connection]:
    """A connection to the warehouse with its schemas in place, in autocommit; closed at the end of the block.

    Raises:
        WarehouseError: the warehouse cannot be used, or fails inside the block.
    """
    warehouse = open_warehouse(settings)
    with closing(warehouse.connect(purpose, autocommit=True)) as connection:
        try:
            require_session_pooling(connection)
            prepare(warehouse, connection, project)
            yield connection
        except psycopg2.Error as error:
            raise warehouse_error(error, warehouse.uri) from None


def staging_ddl(project: Project) -> list[str]:
    """Statements that make each symbol's landing table, or add the columns that it or `staging.indicator_values` lacks.

    No column is ever dropped.

    They check first. If an administrator owns the tables, the pipeline's role may not even run `add column if not
    exists`.
    """
    return [*(_table(symbol, project.columns) for symbol in project.symbols), _indicator_columns(project)]


def _indicator_columns(project: Project) -> str:
    types = project.indicator_types
    names = ", ".join(map(literal, types))
    added = ", ".join(f"add column if not exists {identifier(name)} {kind}" for name, kind in types.items())
    return f"""
        do $$
        begin
            if exists (
                select unnest(array[{names}])
                except
                select attname::text
                from pg_attribute
                where attrelid = 'staging.indicator_values'::regclass and attnum > 0 and not attisdropped
            ) then
                alter table staging.indicator_values {added};
            end if;
        end
        $$
    """


def _table(symbol: str, columns: Columns) -> str:
    relation = f"staging.{identifier(symbol)}"
    key, *fields = [f"{identifier(name)} {kind}" for name, kind in columns.types.items()]
    added = ", ".join(f"add column if not exists {field}" for field in fields)
    names = ", ".join(map(literal, columns.names))
    return f"""
        do $$
        begin
            if to_regclass({literal(relation)}) is null then
                create table {relation} ({key} primary key, {", ".join(fields)}, extracted_at timestamptz not null);
                create index {identifier(f"{symbol}_extracted_at")} on {relation} (extracted_at);
            elsif exists (
                select from unnest(array[{names}]) as needed (name)
                where not exists (
                    select from pg_attribute
                    where attrelid = to_regclass({literal(relation)}) and attname = name and not attisdropped
                )
            ) then
                alter table {relation} {added};
            end if;
        end
        $$
    """
