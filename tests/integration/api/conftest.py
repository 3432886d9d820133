"""Fixtures: a warehouse for the API."""

from __future__ import annotations

import pytest

from tests.conftest import Server
from tests.support.api_world import ApiWorld, api_world_on


@pytest.fixture
def api_world(server: Server) -> ApiWorld:
    """A warehouse with the API's tables and functions, and no bar."""
    return api_world_on(server.uri, server.templates)
