"""Settings of the Bybit account."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from extract.errors import SettingsError
from extract.settings import EnvironmentSettings, header_value, not_set, service_address

CATEGORIES = ("linear", "inverse", "spot", "option")


def _categories(value: str) -> str:
    names = [name.strip() for name in value.split(",")]
    unknown = [name for name in names if name not in CATEGORIES]
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: expected some of {', '.join(CATEGORIES)}, comma-separated")
    return ",".join(dict.fromkeys(names))


class BybitSettings(EnvironmentSettings):
    """The Bybit account."""

    bybit_api_key: Annotated[SecretStr, AfterValidator(header_value)] | None = Field(
        default=None, description="Key of the Bybit account; it only needs the right to read orders and positions."
    )
    bybit_api_secret: Annotated[SecretStr, AfterValidator(header_value)] | None = Field(
        default=None, description="The key's secret."
    )
    bybit_base_url: Annotated[str, AfterValidator(service_address)] = Field(
        default="https://api.bybit.com", description="Bybit's address; the testnet has another one."
    )
    bybit_categories: Annotated[str, AfterValidator(_categories)] = Field(
        default="linear", description="Which executions are read: linear, inverse, spot, option, comma-separated."
    )
    bybit_requests_per_second: float = Field(
        default=8, gt=0, description="Requests a second; Bybit bans an address that sends more than it allows."
    )

    @property
    def categories(self) -> list[str]:
        """Which executions are read."""
        return self.bybit_categories.split(",")

    def require_credentials(self) -> tuple[SecretStr, SecretStr]:
        """Bybit's key and its secret.

        Raises:
            SettingsError: one or both are not set.
        """
        if self.bybit_api_key is None or self.bybit_api_secret is None:
            missing = {"BYBIT_API_KEY": self.bybit_api_key, "BYBIT_API_SECRET": self.bybit_api_secret}
            raise SettingsError(
                f"{not_set(missing)}: make a read-only key at Bybit (API management) and export it, or put it in .env"
            )
        return self.bybit_api_key, self.bybit_api_secret
