"""Calls `ops.refresh`, which runs the increments that are stored in the warehouse as functions."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg2.extras import execute_values

from extract.dbt_runner import BuiltModel, TransformResult
from extract.warehouse import Connection, transaction


def refresh(connection: Connection, models: Sequence[str]) -> TransformResult:
    """Bring the tables of incremental models up to date, without dbt, in one round trip and one transaction.

    Each table has a subtransaction: one that fails is in `failed` with its reason, and the others are refreshed.

    Args:
        connection: in autocommit. Postgres keeps the query plans as long as it is open.
        models: names, each after those it depends on.

    Raises:
        psycopg2.Error: the connection is lost, or the warehouse has no `ops.refresh`.
    """
    result = TransformResult()
    if not models:
        return result
    with connection.cursor() as cursor:
        cursor.execute("select model, error from ops.refresh(%s)", (list(models),))
        for model, error in cursor.fetchall():
            if error is None:
                result.built.append(model)
            else:
                result.failed[model] = error
                result.models_failed += 1
    return result


def built_models(connection: Connection, source: str) -> list[BuiltModel]:
    """The models of a source as they were last built, each after those it depends on."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select model, relation, is_incremental from ops.built_models where source = %s order by place", (source,)
        )
        return [BuiltModel(*row) for row in cursor.fetchall()]


def missing_models(connection: Connection, source: str) -> list[str]:
    """Models that were built once and whose table or view is gone: somebody dropped it, or a cascade did."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select model from ops.built_models where source = %s and to_regclass(relation) is null order by place",
            (source,),
        )
        return [model for (model,) in cursor.fetchall()]


def keep_models(connection: Connection, source: str, models: Sequence[BuiltModel]) -> None:
    """Store which models a source has, after a build of all of them. If nothing differs, nothing is written."""
    known = built_models(connection, source)
    if list(models) == known:
        return
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute("delete from ops.built_models where source = %s", (source,))
        rows = [(source, place, each.model, each.relation, each.is_incremental) for place, each in enumerate(models)]
        execute_values(
            cursor, "insert into ops.built_models (source, place, model, relation, is_incremental) values %s", rows
        )
