"""Settings of the MT5 account service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from extract.errors import SettingsError
from extract.settings import EnvironmentSettings, address, header_value, is_in_the_clear, not_set


class AccountsSettings(EnvironmentSettings):
    """The MT5 account service."""

    mt5_service_url: Annotated[str, AfterValidator(address)] | None = Field(
        default=None, description="Where the service beside the MetaTrader 5 terminals answers."
    )
    mt5_service_api_key: Annotated[SecretStr, AfterValidator(header_value)] | None = Field(
        default=None, description="The key it asks for, in the header X-API-Key."
    )
    mt5_service_token: Annotated[SecretStr, AfterValidator(header_value)] | None = Field(
        default=None, description="A bearer token, in the header Authorization: beside the key, or instead of it."
    )
    mt5_service_ca_file: Path | None = Field(
        default=None,
        description="Certificates (PEM) of the authority that signed the service's, where it is a private one.",
    )
    mt5_service_allow_http: bool = Field(
        default=False, description="Send key and token over plain http too, in a network where nobody listens."
    )
    mt5_sync_budget_seconds: float = Field(
        default=300, gt=0, description="Seconds after which a sync of accounts leaves the rest for the next one."
    )

    mt5_service_concurrency: int = Field(
        default=30,
        ge=1,
        le=200,
        description="The most requests at once; 1 where the service logs in account by account.",
    )
    mt5_service_requests_per_minute: int | None = Field(
        default=None, ge=1, description="The most requests in a minute; without it there is no such limit."
    )

    def require_service(self) -> str:
        """The account service's address; with it, a key or a token is set.

        Raises:
            SettingsError: the address or both secrets are not set, or a secret would be sent unencrypted.
        """
        secret = self.mt5_service_api_key or self.mt5_service_token
        if self.mt5_service_url is None or secret is None:
            missing = {"MT5_SERVICE_URL": self.mt5_service_url, "MT5_SERVICE_API_KEY": secret}
            raise SettingsError(
                f"{not_set(missing)}: export address and key of the service beside the terminals, or put them in .env"
            )
        if is_in_the_clear(self.mt5_service_url) and not self.mt5_service_allow_http:
            raise SettingsError(
                "MT5_SERVICE_URL: expected https: the key would go over the network in the clear. Where nobody can "
                "listen there, MT5_SERVICE_ALLOW_HTTP=true lets it pass"
            )
        if self.mt5_service_ca_file is not None and not self.mt5_service_ca_file.expanduser().is_file():
            raise SettingsError(f"MT5_SERVICE_CA_FILE: there is no file {self.mt5_service_ca_file}")
        return self.mt5_service_url
