"""Settings: the only module that reads the environment, `.env` and the lists of dbt_project.yml."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from extract.errors import SettingsError

ROOT = Path(__file__).resolve().parents[1]
DBT_PROJECT = ROOT / "dbt_project"
SQL = ROOT / "sql"
BYBIT_CATEGORIES = ("linear", "inverse", "spot", "option")
# Suffixes brokers put behind a symbol; the collector strips them, but may be told not to.
BROKER_SUFFIXES = (".i", ".pro", ".raw", ".std", ".e", ".z", "m")
PRICES = ("open", "high", "low", "close")
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _address(value: str) -> str:
    """The address of an HTTP service, without a slash at its end."""
    address = urlsplit(value)
    if address.scheme not in {"http", "https"} or not address.hostname or address.username or address.query:
        raise ValueError("expected an address such as https://host or https://host:port, without a password")
    return value.rstrip("/")


def _is_in_the_clear(address: str) -> bool:
    """Whether what is sent there can be read on the way."""
    parts = urlsplit(address)
    return parts.scheme == "http" and parts.hostname not in LOOPBACK


def _service_address(value: str) -> str:
    """The address of an HTTP service to which secrets go, so that it has to be encrypted."""
    address = _address(value)
    if _is_in_the_clear(address):
        raise ValueError("expected https: a key would go over the network in the clear")
    return address


def _header_value(value: SecretStr) -> SecretStr:
    """A secret that can stand in an HTTP header."""
    text = value.get_secret_value()
    if not (text.isascii() and text.isprintable() and " " not in text):
        raise ValueError("has characters that no key has; is it copied whole, without blanks?")
    return value


def _bybit_categories(value: str) -> str:
    names = [name.strip() for name in value.split(",")]
    unknown = [name for name in names if name not in BYBIT_CATEGORIES]
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: expected some of {', '.join(BYBIT_CATEGORIES)}, comma-separated")
    return ",".join(dict.fromkeys(names))


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

    bybit_api_key: Annotated[SecretStr, AfterValidator(_header_value)] | None = Field(
        default=None, description="Key of the Bybit account; reading its orders is all it has to permit."
    )
    bybit_api_secret: Annotated[SecretStr, AfterValidator(_header_value)] | None = Field(
        default=None, description="The key's secret."
    )
    bybit_base_url: Annotated[str, AfterValidator(_service_address)] = Field(
        default="https://api.bybit.com", description="Where Bybit answers; the testnet is another address."
    )
    bybit_categories: Annotated[str, AfterValidator(_bybit_categories)] = Field(
        default="linear", description="Which executions are read: linear, inverse, spot, option, comma-separated."
    )
    bybit_requests_per_second: float = Field(
        default=8, gt=0, description="Requests a second; Bybit bans an address that sends more than it allows."
    )

    mt5_service_url: Annotated[str, AfterValidator(_address)] | None = Field(
        default=None, description="Where the service beside the MetaTrader 5 terminals answers."
    )
    mt5_service_api_key: Annotated[SecretStr, AfterValidator(_header_value)] | None = Field(
        default=None, description="The key it asks for."
    )
    mt5_service_allow_http: bool = Field(
        default=False, description="Send the key over plain http too, in a network where nobody listens."
    )
    mt5_sync_budget_seconds: float = Field(
        default=300, gt=0, description="Seconds after which a sync of accounts leaves the rest for the next one."
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

    def require_bybit_credentials(self) -> tuple[SecretStr, SecretStr]:
        """Bybit's key and its secret.

        Raises:
            SettingsError: one is not set, or both.
        """
        if self.bybit_api_key is None or self.bybit_api_secret is None:
            missing = {"BYBIT_API_KEY": self.bybit_api_key, "BYBIT_API_SECRET": self.bybit_api_secret}
            raise SettingsError(
                f"{_not_set(missing)}: make a read-only key at Bybit (API management) and export it, or put it in .env"
            )
        return self.bybit_api_key, self.bybit_api_secret

    def require_mt5_service(self) -> tuple[str, SecretStr]:
        """The account service's address and the key for it.

        Raises:
            SettingsError: one is not set, or both; or the key would go over the network in the clear.
        """
        if self.mt5_service_url is None or self.mt5_service_api_key is None:
            missing = {"MT5_SERVICE_URL": self.mt5_service_url, "MT5_SERVICE_API_KEY": self.mt5_service_api_key}
            raise SettingsError(
                f"{_not_set(missing)}: export address and key of the service beside the terminals, or put them in .env"
            )
        if _is_in_the_clear(self.mt5_service_url) and not self.mt5_service_allow_http:
            raise SettingsError(
                "MT5_SERVICE_URL: expected https: the key would go over the network in the clear. Where nobody can "
                "listen there, MT5_SERVICE_ALLOW_HTTP=true lets it pass"
            )
        return self.mt5_service_url, self.mt5_service_api_key


def _not_set(settings: Mapping[str, object]) -> str:
    names = [name for name, value in settings.items() if value is None]
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} not set"


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
        return tuple(table for symbol in self.symbols for table in self.tables_of(symbol))

    def tables_of(self, symbol: str) -> list[str]:
        """Names of a symbol's candle tables, one per timeframe."""
        return [self.table(symbol, timeframe) for timeframe in self.timeframes]

    def table(self, symbol: str, timeframe: str) -> str:
        """Name of one candle table."""
        return f"{symbol}_{timeframe.lower()}"


def symbol_of(table: str, symbols: Iterable[str]) -> str | None:
    """The configured symbol a table of the source file belongs to, by its name with or without a broker suffix."""
    name = table.lower()
    for symbol in symbols:
        if name == symbol or name in {symbol + suffix for suffix in BROKER_SUFFIXES}:
            return symbol
    return None


def load_project() -> Project:
    """Read the lists from `dbt_project.yml`; symbols are lower case."""
    variables = yaml.safe_load((DBT_PROJECT / "dbt_project.yml").read_text(encoding="utf-8"))["vars"]
    return Project(
        tuple(variables["symbols"]),
        dict(variables["timeframes"]),
        tuple(variables["around_the_clock"]),
        int(variables["grace_minutes"]),
    )
