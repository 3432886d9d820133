"""Fixtures: servers for the session, a world for each test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.collector import Collector
from tests.servers import DEBIAN_BINARIES, administer, debian_postgres, embedded_postgres
from tests.world import DATABASE, World, run_tradehouse

TEMPLATE = "tradehouse_template"


@dataclass(frozen=True)
class Server:
    """A running server with a template database in which all tables exist, empty."""

    name: str
    uri: str  # with {database} to fill in
    home: Path

    def fresh_database(self, template: str = TEMPLATE) -> str:
        """Make the test database anew and return its URI."""
        # one name for all, because dbt parses the project again when its profile changes
        administer(
            self.uri,
            [
                f"drop database if exists {DATABASE} with (force)",
                f"create database {DATABASE} template {template}",
            ],
        )
        return self.uri.format(database=DATABASE)


@pytest.fixture(scope="session", params=["embedded", "debian"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Each server in turn: Postgres 18 from the wheel, and Debian's 15 where it is installed."""
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "debian" and not DEBIAN_BINARIES.exists():
        pytest.skip("Debian's PostgreSQL 15 is not installed")
    start = embedded_postgres if request.param == "embedded" else debian_postgres
    with start(directory / "postgres") as uri:
        running = Server(request.param, uri, directory / "home")
        _make_template(running, directory)
        yield running


def _make_template(server: Server, directory: Path) -> None:
    """Fill the template by running the pipeline itself on a file whose tables are all empty."""
    database_uri = server.fresh_database("template1")
    with Collector(directory / "empty.db") as collector:
        collector.create()
    done = run_tradehouse(
        "sync",
        environment={
            "SQLITE_PATH": str(directory / "empty.db"),
            "POSTGRESQL_URI": database_uri,
            "TRADEHOUSE_HOME": str(server.home),
        },
        cwd=directory,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    administer(server.uri, [f"drop database if exists {TEMPLATE}", f"alter database {DATABASE} rename to {TEMPLATE}"])


@pytest.fixture
def world(server: Server, tmp_path: Path) -> Iterator[World]:
    """An empty source file with all 15 tables, and a warehouse with all 135, empty too."""
    with Collector(tmp_path / "trading_data.db") as collector:
        collector.create()
        yield World(tmp_path, server.home, server.fresh_database(), collector)
