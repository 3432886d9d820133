"""Settings of the MT5 account service."""

from __future__ import annotations

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
        default=None, description="The key it asks for."
    )
    mt5_service_allow_http: bool = Field(
        default=False, description="Send the key over plain http too, in a network where nobody listens."
    )
    mt5_sync_budget_seconds: float = Field(
        default=300, gt=0, description="Seconds after which a sync of accounts leaves the rest for the next one."
    )

    def require_service(self) -> tuple[str, SecretStr]:
        """The account service's address and the key for it.

        Raises:
            SettingsError: one or both are not set, or the key would be sent unencrypted.
        """
        if self.mt5_service_url is None or self.mt5_service_api_key is None:
            missing = {"MT5_SERVICE_URL": self.mt5_service_url, "MT5_SERVICE_API_KEY": self.mt5_service_api_key}
            raise SettingsError(
                f"{not_set(missing)}: export address and key of the service beside the terminals, or put them in .env"
            )
        if is_in_the_clear(self.mt5_service_url) and not self.mt5_service_allow_http:
            raise SettingsError(
                "MT5_SERVICE_URL: expected https: the key would go over the network in the clear. Where nobody can "
                "listen there, MT5_SERVICE_ALLOW_HTTP=true lets it pass"
            )
        return self.mt5_service_url, self.mt5_service_api_key
