"""Settings of the HTTP API."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from extract.settings import BLANKS, EnvironmentSettings


def _redis_url(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    try:
        parts = urlsplit(url)
        usable = parts.scheme == "unix" or (parts.scheme in {"redis", "rediss"} and parts.port != 0 and parts.hostname)
    except ValueError:  # .port checks itself
        usable = False
    if not usable or not BLANKS.isdisjoint(url):
        raise ValueError("expected redis://host:port/number, rediss:// (TLS) or unix://path")
    return value


def _long_secret(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < 32:
        raise ValueError("expected at least 32 characters, such as those of `openssl rand -hex 32`")
    return value


def lower(value: object) -> object:
    """Text in lower case; anything else as it is."""
    return value.lower() if isinstance(value, str) else value


class ApiSettings(EnvironmentSettings):
    """The HTTP API."""

    redis_url: Annotated[SecretStr, AfterValidator(_redis_url)] | None = Field(
        default=None,
        description="Redis or Valkey that several API processes share for answers and rate limits; without it each "
        "process keeps its own. One database of it (`redis://host:6379/1`) serves one warehouse.",
    )
    api_without_key: Annotated[Literal["free", "closed"], BeforeValidator(lower)] = Field(
        default="free", description="What callers without a key get: `free` (the tier FREE) or `closed` (nothing)."
    )
    api_cookie_secret: Annotated[SecretStr, AfterValidator(_long_secret)] | None = Field(
        default=None,
        description="Signs the cookies of browsers, at least 32 characters. Without it each process makes its own, and "
        "browsers have to sign in again when it restarts. Several processes need the same one.",
    )
    api_trusted_proxies: str = Field(
        default="",
        description="Addresses of reverse proxies, with commas between them, whose X-Forwarded-For names the client.",
    )
    api_memory_mb: int = Field(default=32, ge=1, description="Megabytes of compressed answers a process keeps.")
    api_connections: int = Field(
        default=6, ge=1, description="Connections to the warehouse, besides the listening one."
    )
    api_query_seconds: float = Field(default=5, gt=0, description="Seconds after which a query is given up.")
    api_streams: int = Field(default=200, ge=1, description="Open event streams of a process.")
    api_streams_per_caller: int = Field(default=10, ge=1, description="Open event streams of one key.")
