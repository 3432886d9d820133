"""Fixtures: a warehouse for the API, and a Valkey."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import Server
from tests.support.api_world import ApiWorld, api_world_on
from tests.support.market_world import MarketWorld
from tests.support.valkey import Valkey, running_valkey


@pytest.fixture
def api_world(server: Server) -> ApiWorld:
    """A warehouse with the API's tables and functions, and no bar."""
    return api_world_on(server.uri, server.templates)


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    """A real Valkey."""
    with running_valkey() as valkey:
        yield valkey


@pytest.fixture
def market_world(server: Server) -> MarketWorld:
    """A warehouse with the API's real functions and the market's tables, all empty, and keys of all tiers."""
    world = MarketWorld(server.served_database())
    world.add_keys()
    return world
