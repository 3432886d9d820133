"""Settings: the only module that reads the environment, `.env` and the lists of dbt_project.yml."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parents[1]
DBT_PROJECT = ROOT / "dbt_project"
SQL = ROOT / "sql"


class SettingsError(Exception):
    """Settings that cannot work; the message names each one and what it needs."""


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


class Settings(BaseSettings):
    """What the environment (or `.env` in the working directory) says; an empty variable counts as unset."""

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore")

    sqlite_path: Path | None = Field(default=None, description="The SQLite file the MetaTrader 5 collector writes.")
    postgresql_uri: SecretStr | None = Field(
        default=None,
        description="Postgres 14 or newer as a libpq URI; without it, or as `embedded`, a private Postgres is used.",
    )
    tradehouse_home: Path = Field(
        default=ROOT / ".tradehouse", description="Where the embedded Postgres and run files live."
    )
    lookback_minutes: int = Field(
        default=60, ge=0, description="How far behind the newest landed bar each run reads again for revisions."
    )
    max_rows_per_table: int = Field(default=10_000, ge=1, description="How many newest rows a candle table keeps.")
    staging_rows_per_symbol: int = Field(
        default=10_000,
        ge=1_000,
        description="How many newest bars of a symbol staging keeps once all tables have them.",
    )
    sync_interval_seconds: int = Field(default=30, ge=1, description="Seconds between cycles of an unattended run.")
    dbt_threads: int = Field(default=4, ge=1, description="How many models dbt builds at once.")
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)] = Field(
        default="INFO", description="DEBUG, INFO, WARNING or ERROR; DEBUG also keeps dbt's own log."
    )

    @property
    def home(self) -> Path:
        """`tradehouse_home`, absolute."""
        return self.tradehouse_home.expanduser().resolve()

    def require_sqlite_path(self) -> Path:
        """The source file's path.

        Raises:
            SettingsError: it is not set.
        """
        if self.sqlite_path is None:
            raise SettingsError(
                "SQLITE_PATH is not set: export it, or put it in .env, as the path of the file the MetaTrader 5 "
                "collector writes (a sample: tradehouse demo-data sample.db)"
            )
        return self.sqlite_path.expanduser()


def load_settings() -> Settings:
    """Read the settings.

    Raises:
        SettingsError: some have unusable values; all of them are named at once, none is quoted if secret.
    """
    try:
        return Settings()
    except ValidationError as error:
        faults = [f"{str(fault['loc'][0]).upper()}: {fault['msg']}" for fault in error.errors()]
        raise SettingsError("unusable settings: " + "; ".join(faults)) from None


@dataclass(frozen=True)
class Project:
    """The lists of `dbt_project.yml` that the Python side shares with the models."""

    symbols: tuple[str, ...]
    timeframes: dict[str, int]  # name -> minutes
    around_the_clock: tuple[str, ...]  # symbols that trade at weekends
    grace_minutes: int  # how long after its open a bar may be missing

    @cached_property
    def candle_tables(self) -> tuple[str, ...]:
        """Names of all candle tables, symbol by symbol."""
        return tuple(f"{symbol}_{name.lower()}" for symbol in self.symbols for name in self.timeframes)


def load_project() -> Project:
    """Read the lists from `dbt_project.yml`; symbols are lower case."""
    variables = yaml.safe_load((DBT_PROJECT / "dbt_project.yml").read_text(encoding="utf-8"))["vars"]
    return Project(
        tuple(variables["symbols"]),
        dict(variables["timeframes"]),
        tuple(variables["around_the_clock"]),
        int(variables["grace_minutes"]),
    )
