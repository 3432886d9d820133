"""Settings: the only module that reads the environment, `.env` and the lists of dbt_project.yml."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

import yaml
from dotenv import dotenv_values
from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from extract.errors import SettingsError
from extract.lists import PRICES as PRICES
from extract.lists import faults_of_lists
from extract.secret_files import SUFFIX, read_secrets

ROOT = Path(__file__).resolve().parents[1]
DBT_PROJECT = ROOT / "dbt_project"
SQL = ROOT / "sql"
# Suffixes that brokers add to a symbol. The collector strips them unless it is set not to.
BROKER_SUFFIXES = (".i", ".pro", ".raw", ".std", ".e", ".z", "m")
BLANKS = {chr(code) for code in range(33)} | {"\x7f", "\xa0"}
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def address(value: str) -> str:
    """The address of an API, without a slash at its end."""
    try:
        parts = urlsplit(value)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0  # .port checks itself
    except ValueError:
        usable = False
    # urlsplit removes line breaks silently
    if not usable or "@" in parts.netloc or parts.query or parts.fragment or not set(value).isdisjoint(BLANKS):
        raise ValueError("expected an address such as https://host or https://host:port, without a password")
    return value.rstrip("/")


def is_in_the_clear(url: str) -> bool:
    """Whether others on the network can read what is sent to this address."""
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname not in LOOPBACK


def service_address(value: str) -> str:
    """The address of an API that is sent secrets, so it must be https."""
    checked = address(value)
    if is_in_the_clear(checked):
        raise ValueError("expected https: a key would go over the network in the clear")
    return checked


def header_value(value: SecretStr) -> SecretStr:
    """A secret, checked to be valid in an HTTP header."""
    text = value.get_secret_value()
    if not (text.isascii() and text.isprintable() and " " not in text):
        raise ValueError("has characters that no key has; is it copied whole, without blanks?")
    return value


class EnvironmentSettings(BaseSettings):
    """Settings from the environment or from `.env` in the working directory; an empty variable counts as unset."""

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore")


class Settings(EnvironmentSettings):
    """The warehouse and the candles."""

    sqlite_path: Path | None = Field(default=None, description="The SQLite file the MetaTrader 5 collector writes.")
    postgresql_uri: SecretStr | None = Field(
        default=None,
        description="Postgres 14 or newer as a libpq URI; without it, or as `embedded`, a private Postgres is used.",
    )
    tradehouse_home: Path = Field(
        default=ROOT / ".tradehouse", description="Where the embedded Postgres and run files live."
    )
    lookback_minutes: int = Field(
        default=60,
        ge=0,
        description="How many minutes before the newest landed bar each run reads again, to find revisions.",
    )
    max_rows_per_table: int | None = Field(
        default=None,
        ge=1,
        description="How many newest rows a candle table keeps: 10,000 if not set. The warehouse keeps the number of "
        "its first run; `tradehouse warehouse max-rows` changes it.",
    )
    max_value_bytes: int = Field(
        default=1_000_000,
        ge=1_000,
        description="A longer value in the SQLite file is a reject, with its length and its first characters.",
    )
    staging_rows_per_symbol: int = Field(
        default=10_000,
        ge=1_000,
        description="How many newest bars of a symbol staging keeps once all tables have them. It may hold 1 % more.",
    )
    sync_interval_seconds: int = Field(default=30, ge=1, description="Seconds between the ticks of `tradehouse run`.")
    dbt_threads: int = Field(default=4, ge=1, description="How many models dbt builds at once.")
    alert_urls: SecretStr | None = Field(
        default=None,
        description="Where the services send alerts: URLs of Apprise (Telegram, mail, webhook, …), separated by blanks "
        "or commas; without them no alert is sent.",
    )
    alert_after: int = Field(
        default=300,
        ge=0,
        le=604_800,
        description="Seconds that a trouble must last before the service sends an alert; a week at most.",
    )
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)] = Field(
        default="INFO", description="DEBUG, INFO, WARNING or ERROR; DEBUG also keeps dbt's own log."
    )

    @property
    def home(self) -> Path:
        """`tradehouse_home`, absolute.

        Raises:
            SettingsError: the path cannot be resolved.
        """
        try:
            return self.tradehouse_home.expanduser().resolve()
        except (OSError, RuntimeError) as error:  # a loop of links, or the home of an unknown user
            raise SettingsError(f"TRADEHOUSE_HOME: {self.tradehouse_home}: {error}") from None

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


def not_set(settings: Mapping[str, object]) -> str:
    """The text that names the settings without a value."""
    names = [name for name, value in settings.items() if value is None]
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} not set"


AnySettings = TypeVar("AnySettings", bound=BaseSettings)


def load_settings() -> Settings:
    """Read the settings of the warehouse and the candles.

    Raises:
        SettingsError: as `load`.
    """
    return load(Settings)


def load(kind: type[AnySettings]) -> AnySettings:
    """Read settings of one kind.

    Raises:
        SettingsError: some values cannot work, or `.env` cannot be read. All such settings are named at once; a
            secret value is never quoted.
    """
    secrets, faults = read_secrets(kind, {name.lower(): value for name, value in given_variables().items()})
    try:
        loaded = kind(**secrets)
    except ValidationError as error:
        names = {name: name + SUFFIX for name in secrets}
        found = [(str(fault["loc"][0]), fault["msg"]) for fault in error.errors()]
        faults += [f"{names.get(name, name).upper()}: {message}" for name, message in found]
    if faults:
        raise SettingsError("settings that cannot work: " + "; ".join(faults))
    return loaded


def given_variables() -> dict[str, str]:
    """The variables of the process and of `.env`; an empty one counts as unset, and the process's win.

    Raises:
        SettingsError: `.env` cannot be read.
    """
    _require_readable_env_file()
    each = [*dotenv_values(".env").items(), *os.environ.items()]
    return {name: value for name, value in each if value}


def _require_readable_env_file() -> None:
    file = Path(".env")
    try:
        if file.is_file():
            file.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{file.absolute()} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{file.absolute()} is not a text file in UTF-8") from None


@dataclass(frozen=True)
class Column:
    """A column of a bar other than its timestamp.

    Attributes:
        name: the same in the source, in staging and in the candle tables.
        kind: `price`, `number` or `json`.
        description: what it holds.
        dynamic: whether a candle table keeps it on its newest row only.
        zero_is_empty: whether 0.0 means that the indicator has no value.
    """

    name: str
    kind: str
    description: str
    dynamic: bool = False
    zero_is_empty: bool = False


@dataclass(frozen=True)
class Columns:
    """The columns of a bar: `timestamp`, then the listed ones in their order."""

    listed: tuple[Column, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All of them, `timestamp` first."""
        return ("timestamp", *(column.name for column in self.listed))

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """Those that hold a double."""
        return tuple(column.name for column in self.listed if column.kind != "json")

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Those that hold JSON, which is text until a staging view reads it."""
        return tuple(column.name for column in self.listed if column.kind == "json")

    @cached_property
    def types(self) -> dict[str, str]:
        """Name -> type of each in its staging table."""
        kinds = {column.name: "text" if column.kind == "json" else "double precision" for column in self.listed}
        return {"timestamp": "bigint"} | kinds

    @cached_property
    def duckdb_types(self) -> dict[str, str]:
        """Name -> type of each in DuckDB."""
        kinds = {"bigint": "bigint", "text": "varchar", "double precision": "double"}
        return {name: kinds[kind] for name, kind in self.types.items()}


@dataclass(frozen=True)
class Indicator:
    """A column of `market.indicator_data` beside its key and stamp; `type` is Postgres'."""

    name: str
    description: str
    type: str = "double precision"


@dataclass(frozen=True)
class Project:
    """The lists of `dbt_project.yml` that the Python side shares with the models."""

    symbols: tuple[str, ...]
    timeframes: dict[str, int]  # name -> minutes
    columns: Columns
    around_the_clock: tuple[str, ...]  # symbols that trade at weekends
    grace_minutes: int  # how long after its open a bar may be missing
    indicators: tuple[Indicator, ...]
    market_timeframes: tuple[str, ...]  # of market.candle_data

    @cached_property
    def indicator_types(self) -> dict[str, str]:
        """Name -> Postgres type of each indicator."""
        return {indicator.name: indicator.type for indicator in self.indicators}

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


def load_project(file: Path = DBT_PROJECT / "dbt_project.yml") -> Project:
    """Read the lists from `dbt_project.yml`.

    Raises:
        SettingsError: a list has an invalid entry; all invalid entries are named at once.
    """
    try:
        variables = yaml.safe_load(file.read_text(encoding="utf-8"))["vars"]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise SettingsError(f"{file} cannot be read: {' '.join(str(error).split())}") from None
    if faults := faults_of_lists(variables):
        raise SettingsError(f"{file.name}: {'; '.join(faults)}")
    return Project(
        tuple(variables["symbols"]),
        dict(variables["timeframes"]),
        Columns(tuple(Column(**column) for column in variables["candle_columns"])),
        tuple(variables["around_the_clock"]),
        int(variables["grace_minutes"]),
        tuple(Indicator(**column) for column in variables["indicator_columns"]),
        tuple(map(str, variables["market_timeframes"])),
    )
