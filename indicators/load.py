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
from extract.warehouse import value
from indicators.files import Content, content_of
from indicators.series import KEY

MARKS = {
    "instrument_id": "bigint",
    "timeframe": "text",
    "candles_until": "bigint",
    "first_bar": "bigint",
}
SCANS = StagingTable(
    "indicator_scans", ("instrument_types",), {"instrument_types": "text", "candles_until": "timestamptz"}
)


class RefreshError(SourceError):
    """Rows that landed do not reach the table."""


class Loader:
    """Loads files into market.indicator_data by way of staging. The table has been built.

    Args:
        run: the run's record.
        project: has the list of columns.
    """

    def __init__(self, run: Run, project: Project) -> None:
        self._run = run
        self._types = project.indicator_types
        self._timeframes = project.market_timeframes
        self._session = open_session()

    def load(self, path: Path) -> tuple[int, int]:
        """Load a file; return how many rows and how many rejects. One that was loaded before changes nothing.

        Its rows reach the table in the transaction that lands them, so that the next computation, in whatever process,
        goes on from values that the marks speak of, and staging never has to hold more than one file.

        Raises:
            SourceError: the file is damaged.
            RefreshError: the rows do not fit the table; nothing is loaded.
        """
        content = content_of(path, self._session)
        rows = self._rows(path)
        count = len(rows["instrument_id"])
        with landing(self._run) as batch:
            if value(
                batch.connection, "select exists (select from staging.indicator_marks where file_name = %s)", path.name
            ):
                return 0, 0
            # marks of a table that somebody has emptied hold no longer, also not once it has rows again
            batch.execute(
                "do $$ begin if not exists (select from market.indicator_data) then"
                " delete from staging.indicator_marks; delete from staging.indicator_scans; end if; end $$"
            )
            if count:
                self._land_rows(batch, rows)
            _land_marks(batch, content, path.name)
            _land_rejects(batch, content)
            self._run.count(rows_changed=count, rows_rejected=len(content.rejects))
        return count, len(content.rejects)

    def _rows(self, path: Path) -> dict[str, np.ndarray]:
        """The columns of a file; a NULL is masked."""
        timeframes = literal(str(list(self._timeframes)))
        names = ", ".join(map(identifier, self._types))
        try:
            found = self._session.execute(
                f"select instrument_id, list_position({timeframes}::varchar[], timeframe) as place,"
                f" epoch_us(timestamp) as timestamp, {names} from read_parquet({literal(str(path))})"
            ).fetchnumpy()
        except duckdb.Error as error:
            raise SourceError(f"{path.name} is damaged: {' '.join(str(error).split())[:200]}") from None
        names_of_timeframes = np.array([name.encode() for name in self._timeframes])
        return {**found, "timeframe": names_of_timeframes[found.pop("place") - 1]}

    def _land_rows(self, batch: Batch, rows: dict[str, np.ndarray]) -> None:
        """Copy rows to staging, bring the table up to date, and empty staging again."""
        target = StagingTable("indicator_values", tuple(KEY), KEY | self._types)
        stamp = np.int64(round(batch.extracted_at.timestamp() * 1_000_000))
        rows["extracted_at"] = np.full(len(rows["instrument_id"]), stamp)
        file = binary_rows(rows, {**target.columns, "extracted_at": "timestamptz"})
        batch.load(target, file, BINARY_OPTIONS)
        error = value(batch.connection, "select error from ops.refresh(array['indicator_data'])")
        if error:
            raise RefreshError(f"market.indicator_data: {error}")
        batch.execute(f"truncate {target.relation}")


def land_scan(run: Run, scope: str, candles_until: int) -> None:
    """Note that all series of these instrument types are computed for candles up to this stamp."""
    moment = f"timestamptz 'epoch' + {candles_until} * interval '1 microsecond'"
    with landing(run) as batch:
        batch.upsert(SCANS, f"select {literal(scope)} as instrument_types, {moment} as candles_until")


def _land_marks(batch: Batch, content: Content, file: str) -> None:
    rows = [(mark.instrument_id, mark.timeframe, mark.candles_until, mark.first_bar) for mark in content.marks]
    batch.copy("indicator_marks_found", MARKS, rows)
    batch.execute(
        "insert into staging.indicator_marks as known"
        " (instrument_id, timeframe, candles_until, first_bar, file_name, extracted_at)"
        " select instrument_id, timeframe, timestamptz 'epoch' + candles_until * interval '1 microsecond',"
        f" timestamptz 'epoch' + first_bar * interval '1 microsecond', {literal(file)}, {batch.stamp}"
        " from indicator_marks_found on conflict (instrument_id, timeframe) do update"
        " set candles_until = excluded.candles_until, first_bar = excluded.first_bar, file_name = excluded.file_name,"
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
