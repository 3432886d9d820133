"""What could not be landed, with its reason: `ops.rejected_rows`."""

from __future__ import annotations

from collections.abc import Sequence

from extract.warehouse import Connection

REJECT_COLUMNS = ("entity", "row_key", "column_name", "reason", "original")


def open_rejects(connection: Connection, source: str) -> Sequence[tuple[str, str, str, str, str]]:
    """The unresolved rejects of a source, over REJECT_COLUMNS."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"select {', '.join(REJECT_COLUMNS)} from ops.rejected_rows where source = %s and resolved_at is null",
            (source,),
        )
        return cursor.fetchall()
