"""Settings of Upstox."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from extract.errors import SettingsError
from extract.settings import EnvironmentSettings, address, header_value, service_address

MASTERS = ("complete", "NSE", "BSE")


def _masters(value: str) -> str:
    names = [name.strip() for name in value.split(",")]
    unknown = [name for name in names if name not in MASTERS]
    if unknown or ("complete" in names and len(names) > 1):
        raise ValueError(f"{value}: expected complete, or NSE and BSE, comma-separated")
    return ",".join(dict.fromkeys(names))


class UpstoxSettings(EnvironmentSettings):
    """Upstox."""

    upstox_access_token: Annotated[SecretStr, AfterValidator(header_value)] | None = Field(
        default=None, description="The Analytics Token of an Upstox account: it reads only, and is valid for a year."
    )
    upstox_base_url: Annotated[str, AfterValidator(service_address)] = Field(
        default="https://api.upstox.com", description="The address of Upstox's API."
    )
    upstox_instruments_url: Annotated[str, AfterValidator(address)] = Field(
        default="https://assets.upstox.com/market-quote/instruments/exchange",
        description="Where the instrument masters are; they need no token.",
    )
    upstox_masters: Annotated[str, AfterValidator(_masters)] = Field(
        default="NSE,BSE", description="Which masters are read: complete, or NSE and BSE, comma-separated."
    )
    upstox_fresh_hours: float = Field(
        default=20, gt=0, description="For so many hours a segment that was read in full is not read again."
    )
    upstox_fresh_days: float = Field(
        default=7, gt=0, description="The same in days, of the segments fo_historical and fo_expired."
    )

    @property
    def masters(self) -> list[str]:
        """Which masters are read."""
        return self.upstox_masters.split(",")

    def require_token(self) -> SecretStr:
        """The token.

        Raises:
            SettingsError: it is not set.
        """
        if self.upstox_access_token is None:
            raise SettingsError(
                "UPSTOX_ACCESS_TOKEN is not set: make an Analytics Token at Upstox (read-only, valid for a year) and"
                " export it, or put it in .env"
            )
        return self.upstox_access_token
