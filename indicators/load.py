"""Load: the rows of a file, its marks and its rejects, in one transaction."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np

from extract.binary_copy import binary_rows
from extract.duckdb_session import open_session
from extract.errors import SourceError
from extract.landing import BINARY_OPTIONS, Batch, StagingTable, landing
from extract.quoting import identifier, literal
from extract.records import Run
from extract.settings import Project
from extract.warehouse import Connection, value
from indicators.files import Content, content_of
from indicators.series import KEY, TIMEFRAMES

VALUES = "staging.indicator_values"
MARKS = {
    "instrument_id": "bigint",
    "timeframe": "text",
    "candles_until": "bigint",
    "first_bar": "bigint",
}
SCANS = StagingTable(
    "indicator_scans", ("instrument_types",), {"instrument_types": "text", "candles_until": "timestamptz"}
)


class Loader:
    """Loads files into staging; knows which series staging holds already.

    Args:
        run: the run's record.
    """

    def __init__(self, run: Run, project: Project) -> None:
        self._run = run
        self._types = project.indicator_types
        self._session = open_session()
        with run.connection.cursor() as cursor:
            cursor.execute(f"select distinct instrument_id, timeframe from {VALUES}")
            self._waiting = set(cursor.fetchall())

    def load(self, path: Path) -> tuple[int, int]:
        """Land a file; return how many rows and how many rejects. One that was landed before lands nothing.

        Raises:
            SourceError: the file is damaged.
        """
        content = content_of(path, self._session)
        rows = self._rows(path)
        series = {(mark.instrument_id, mark.timeframe) for mark in content.marks}
        with landing(self._run) as batch:
            if value(
                batch.connection, "select exists (select from staging.indicator_marks where file = %s)", path.name
            ):
                return 0, 0
            if len(rows["instrument_id"]):
                self._land_rows(batch, rows, anew=not series & self._waiting)
            _land_marks(batch, content, path.name)
            _land_rejects(batch, content)
            self._run.count(rows_changed=len(rows["instrument_id"]), rows_rejected=len(content.rejects))
        self._waiting |= series
        return len(rows["instrument_id"]), len(content.rejects)

    def settled(self) -> None:
        """Staging is empty again."""
        self._waiting.clear()

    def _rows(self, path: Path) -> dict[str, np.ndarray]:
        """The columns of a file; a NULL is masked."""
        timeframes = literal(str(list(TIMEFRAMES)))
        names = ", ".join(map(identifier, self._types))
        try:
            found = self._session.execute(
                f"select instrument_id, list_position({timeframes}::varchar[], timeframe) as place,"
                f" epoch_us(timestamp) as timestamp, {names} from read_parquet({literal(str(path))})"
            ).fetchnumpy()
        except duckdb.Error as error:
            raise SourceError(f"{path.name} is damaged: {' '.join(str(error).split())[:200]}") from None
        names_of_timeframes = np.array([name.encode() for name in TIMEFRAMES])
        return {**found, "timeframe": names_of_timeframes[found.pop("place") - 1]}

    def _land_rows(self, batch: Batch, rows: dict[str, np.ndarray], *, anew: bool) -> None:
        """Copy rows to staging; where it holds some of their series, rows of the same key are replaced."""
        target = StagingTable("indicator_values", tuple(KEY), KEY | self._types)
        stamp = np.int64(round(batch.extracted_at.timestamp() * 1_000_000))
        rows["extracted_at"] = np.full(len(rows["instrument_id"]), stamp)
        types = {**target.columns, "extracted_at": "timestamptz"}
        file = binary_rows(rows, types)
        if anew:
            batch.load(target, file, BINARY_OPTIONS)
            return
        columns = ", ".join(map(identifier, types))
        batch.copy("indicators_found", types, file, BINARY_OPTIONS)
        same = " and ".join(f"known.{name} = found.{name}" for name in KEY)
        batch.execute(f"delete from {VALUES} as known using indicators_found as found where {same}")
        batch.execute(f"insert into {VALUES} ({columns}) select {columns} from indicators_found")


def land_scan(run: Run, scope: str, candles_until: int) -> None:
    """Note that all series of these instrument types are computed for candles up to this stamp."""
    moment = f"timestamptz 'epoch' + {candles_until} * interval '1 microsecond'"
    with landing(run) as batch:
        batch.upsert(SCANS, f"select {literal(scope)} as instrument_types, {moment} as candles_until")


def refresh_values(connection: Connection) -> str | None:
    """Bring market.indicator_data up to date and empty staging, in one transaction; return what went wrong.

    Nothing is done as long as dbt has not built the table.
    """
    if not value(connection, "select to_regprocedure('refresh.indicator_data()') is not null"):
        return None
    with connection.cursor() as cursor:
        cursor.execute("begin")
        cursor.execute("select error from ops.refresh(array['indicator_data'])")
        row = cursor.fetchone()
        if row and row[0]:
            cursor.execute("rollback")
            return str(row[0])
        cursor.execute(f"truncate {VALUES}; commit")
    return None


def _land_marks(batch: Batch, content: Content, file: str) -> None:
    rows = [(mark.instrument_id, mark.timeframe, mark.candles_until, mark.first_bar) for mark in content.marks]
    batch.copy("indicator_marks_found", MARKS, rows)
    batch.execute(
        "insert into staging.indicator_marks as known"
        " (instrument_id, timeframe, candles_until, first_bar, file, extracted_at)"
        " select instrument_id, timeframe, timestamptz 'epoch' + candles_until * interval '1 microsecond',"
        f" timestamptz 'epoch' + first_bar * interval '1 microsecond', {literal(file)}, {batch.stamp}"
        " from indicator_marks_found on conflict (instrument_id, timeframe) do update"
        " set candles_until = excluded.candles_until, first_bar = excluded.first_bar, file = excluded.file,"
        " extracted_at = excluded.extracted_at"
    )


def _land_rejects(batch: Batch, content: Content) -> None:
    """Land the candles that were left out; an earlier reject that was read again and is no more is settled."""
    batch.copy("indicators_read", {"entity": "text", "read_from": "text"}, content.read_from)
    batch.record_rejects(
        content.rejects,
        "exists (select from indicators_read where indicators_read.entity = known.entity"
        " and known.row_key >= indicators_read.read_from)",
    )
