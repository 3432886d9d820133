"""Settings of the indicators."""

from __future__ import annotations

from pydantic import Field

from extract.settings import EnvironmentSettings


class IndicatorsSettings(EnvironmentSettings):
    """The indicators."""

    indicators_workers: int = Field(default=2, ge=1, le=64, description="How many processes compute at once.")
    indicators_archive_days: int = Field(
        default=7, ge=0, description="How many days a loaded Parquet file stays in `indicators/archive` of the home."
    )
