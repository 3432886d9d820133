"""How many rows a candle table keeps. `ops.settings` holds the number, so that every run uses the same."""

from __future__ import annotations

from extract.errors import SettingsError
from extract.warehouse import Connection, value

DEFAULT_ROWS = 10_000


def row_cap(connection: Connection) -> int | None:
    """The warehouse's number of rows; None before its first run."""
    found = value(connection, "select value::integer from ops.settings where name = 'max_rows_per_table'")
    return None if found is None else int(found)


def set_row_cap(connection: Connection, rows: int) -> None:
    """Change the number. The next refresh of each table prunes it, or fills it from staging."""
    with connection.cursor() as cursor:
        cursor.execute(
            "insert into ops.settings as known (name, value) values ('max_rows_per_table', %s)"
            " on conflict (name) do update set value = excluded.value where known.value <> excluded.value",
            (str(rows),),
        )


def settle_row_cap(connection: Connection, given: int | None) -> None:
    """Store the number in the first run. Later runs must agree with it, or one would prune what another keeps.

    Raises:
        SettingsError: MAX_ROWS_PER_TABLE differs from the number in the warehouse.
    """
    known = row_cap(connection)
    if known is None:
        set_row_cap(connection, given or DEFAULT_ROWS)
    elif given is not None and given != known:
        raise SettingsError(
            f"MAX_ROWS_PER_TABLE is {given:,} here, but the tables of this warehouse keep {known:,} rows: unset it, "
            f"or change the warehouse with `tradehouse warehouse max-rows {given}`"
        )
