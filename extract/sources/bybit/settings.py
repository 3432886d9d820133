"""Settings of the Bybit account, or of several."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr, create_model

from extract.errors import SettingsError
from extract.settings import EnvironmentSettings, header_value, load, not_set, service_address

CATEGORIES = ("linear", "inverse", "spot", "option")
OWN_WORDS = {"api", "base", "categories", "requests", "accounts", "backfill", "overlap"}
"""First words of our other settings; an account of that name would take their variables."""

Key = Annotated[SecretStr, AfterValidator(header_value)]
Address = Annotated[str, AfterValidator(service_address)]


def _categories(value: str) -> str:
    names = [name.strip() for name in value.split(",")]
    unknown = [name for name in names if name not in CATEGORIES]
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: expected some of {', '.join(CATEGORIES)}, comma-separated")
    return ",".join(dict.fromkeys(names))


def _accounts(value: str) -> str:
    names = [name.strip().lower() for name in value.split(",")]
    if len(set(names)) < len(names) or any(
        not re.fullmatch("[a-z][a-z0-9]*", name) or name in OWN_WORDS for name in names
    ):
        raise ValueError("expected names such as main,grid: letters and digits, each once, none like a setting's")
    return ",".join(names)


@dataclass(frozen=True)
class Account:
    """How an account is reached; `name` is None for the only one."""

    name: str | None
    key: SecretStr
    secret: SecretStr
    base_url: str

    def label(self, category: str) -> str:
        """What a category of the account is called in messages."""
        return category if self.name is None else f"{self.name}/{category}"


class BybitSettings(EnvironmentSettings):
    """The Bybit account."""

    bybit_api_key: Key | None = Field(
        default=None, description="Key of the Bybit account; it only needs the right to read orders and positions."
    )
    bybit_api_secret: Key | None = Field(default=None, description="The key's secret.")
    bybit_accounts: Annotated[str, AfterValidator(_accounts)] | None = Field(
        default=None,
        description="Names of several accounts, comma-separated, instead of one. Each has a key and a secret of its "
        "own, such as BYBIT_MAIN_API_KEY and BYBIT_MAIN_API_SECRET, and may have a BYBIT_MAIN_BASE_URL.",
    )
    bybit_base_url: Address = Field(
        default="https://api.bybit.com", description="Bybit's address; the testnet has another one."
    )
    bybit_categories: Annotated[str, AfterValidator(_categories)] = Field(
        default="linear", description="Which executions are read: linear, inverse, spot, option, comma-separated."
    )
    bybit_requests_per_second: float = Field(
        default=8, gt=0, description="Requests a second; Bybit bans an address that sends more than it allows."
    )

    bybit_backfill_months: int = Field(
        default=3, ge=1, le=24, description="How many months back the service begins an account it knows nothing of."
    )
    bybit_overlap_hours: float = Field(
        default=2,
        ge=0,
        le=168,
        description="How many hours of what has been read a sync reads again, for executions that Bybit lists late.",
    )

    @property
    def categories(self) -> list[str]:
        """Which executions are read."""
        return self.bybit_categories.split(",")

    @property
    def names(self) -> list[str]:
        """Names of several accounts; empty for one."""
        return self.bybit_accounts.split(",") if self.bybit_accounts else []

    def require_accounts(self) -> list[Account]:
        """The accounts with their keys; at least one.

        Raises:
            SettingsError: a key or a secret is not set; all of these are named.
        """
        named = load(named_settings(self.names)) if self.names else None
        accounts = []
        missing: dict[str, object] = {}
        names: list[str | None] = [*self.names] or [None]
        for name in names:
            prefix = "bybit_" if name is None else f"bybit_{name}_"
            source = self if name is None else named
            key, secret = getattr(source, f"{prefix}api_key"), getattr(source, f"{prefix}api_secret")
            missing |= {f"{prefix}api_key".upper(): key, f"{prefix}api_secret".upper(): secret}
            address = getattr(source, f"{prefix}base_url") or self.bybit_base_url
            accounts.append(Account(name, key, secret, address))
        if any(value is None for value in missing.values()):
            raise SettingsError(
                f"{not_set(missing)}: make a read-only key at Bybit (API management) and export it, or put it in .env"
            )
        return accounts


def named_settings(names: list[str]) -> type[EnvironmentSettings]:
    """The settings that accounts of these names have."""
    fields: dict[str, Any] = {}
    for name in names:
        fields[f"bybit_{name}_api_key"] = (Key | None, None)
        fields[f"bybit_{name}_api_secret"] = (Key | None, None)
        fields[f"bybit_{name}_base_url"] = (Address | None, None)
    return create_model("NamedAccounts", __base__=EnvironmentSettings, **fields)
