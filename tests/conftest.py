"""Fixtures: servers for the session, a world for each test."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
import pytest

from extract.sources.mt5.row_cap import set_row_cap
from tests.support.accounts_world import AccountsWorld, accounts_world_on
from tests.support.bybit_world import BybitWorld, bybit_world_on
from tests.support.collector import Collector
from tests.support.indicators_world import IndicatorsWorld, indicators_world_on
from tests.support.rest_world import build_models
from tests.support.servers import (
    DEBIAN_BINARIES,
    administer,
    debian_postgres,
    embedded_postgres,
    kill_server,
    let_others_through,
    start_again,
    timescaledb_binaries,
)
from tests.support.tenants import Tenants, tenants_on
from tests.support.upstox_world import UpstoxWorld, upstox_world_on
from tests.support.world import DATABASE, World, run_tradehouse

USUAL_CAP = 10_000
SMALL_CAP = 20
STARTS: dict[str, Callable[[Path], AbstractContextManager[str]]] = {
    "embedded": embedded_postgres,
    "debian": debian_postgres,
}
OF_THE_MARKET = ("upstox", "indicators")
ALL_BUT_MT5 = ("bybit", "accounts", *OF_THE_MARKET)


@dataclass(frozen=True)
class Server:
    """A running server, with template databases whose models are built and empty."""

    name: str
    uri: str  # with {database} to fill in
    directory: Path
    templates: set[str] = field(default_factory=set)

    def kill(self) -> None:
        """Crash it."""
        kill_server(self.directory / "postgres")

    def start_again(self) -> None:
        """Start it after `kill`; its URI stays."""
        start_again(self.directory / "postgres")

    @property
    def home(self) -> Path:
        """Where the pipeline keeps its files: one for all databases of this server, so that dbt parses once."""
        return self.directory / "home"

    def fresh_database(self, template: str) -> str:
        """Make the test database anew and return its URI."""
        # one name for all, because dbt parses the project again when its profile changes
        administer(
            self.uri,
            [
                f"drop database if exists {DATABASE} with (force)",
                # half the work of the usual strategy, which writes every block to the log
                f"create database {DATABASE} template {template} strategy file_copy",
            ],
        )
        return self.uri.format(database=DATABASE)

    def built_database(self, cap: int) -> str:
        """The test database with all candle tables in it, empty, that keep `cap` rows; returns its URI."""
        return self.fresh_database(self._template(f"candles_{cap}", lambda: self._build_candles(cap)))

    def rest_database(self) -> str:
        """The test database with the models of all sources but MT5 built, all empty; returns its URI."""
        return self.fresh_database(
            self._template("rest", lambda: build_models(self.fresh_database("template1"), self.home, ALL_BUT_MT5))
        )

    def served_database(self) -> str:
        """The test database with the candle tables and the market's models built, all empty; returns its URI."""
        return self.fresh_database(
            self._template("served", lambda: build_models(self.built_database(USUAL_CAP), self.home, OF_THE_MARKET))
        )

    def _template(self, name: str, build: Callable[[], None]) -> str:
        """The template of this name; the first time, what `build` makes of the test database."""
        if name not in self.templates:
            build()
            administer(self.uri, [f"alter database {DATABASE} rename to {name}"])
            self.templates.add(name)
        return name

    def _build_candles(self, cap: int) -> None:
        """Run the pipeline itself on a file whose tables are all empty; another cap is a row of the warehouse."""
        if cap != USUAL_CAP:
            uri = self.built_database(USUAL_CAP)
            with closing(psycopg2.connect(uri)) as connection, connection:
                set_row_cap(connection, cap)
            return
        path = self.directory / "empty.db"
        with Collector(path) as collector:
            collector.create()
        environment = {
            "SQLITE_PATH": str(path),
            "POSTGRESQL_URI": self.fresh_database("template1"),
            "TRADEHOUSE_HOME": str(self.home),
        }
        done = run_tradehouse("sync", environment=environment, cwd=self.directory)
        assert done.returncode == 0, done.stdout + done.stderr


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test marked `only_on(name)` runs on that server alone."""
    elsewhere = [
        item
        for item in items
        if (mark := item.get_closest_marker("only_on")) is not None
        and (parameters := getattr(item, "callspec", None)) is not None  # none where a test asks for no server
        and parameters.params.get("server", mark.args[0]) not in mark.args
    ]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """Pytest's directory, which is private, opened just enough for the user as whom root's Postgres runs."""
    let_others_through(tmp_path)
    return tmp_path


@pytest.fixture(scope="session", params=["embedded", "debian"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Each server in turn: Postgres 18 from the wheel, and Debian's 15 where it is installed."""
    directory = tmp_path_factory.mktemp(request.param)
    if not is_installed(request.param):
        pytest.skip("Debian's PostgreSQL 15 is not installed")
    templates = set()
    if "PYTEST_XDIST_WORKER" in os.environ:
        templates = copy_built_server(request.param, tmp_path_factory.getbasetemp().parent, directory)
    with STARTS[request.param](directory / "postgres") as uri:
        yield Server(request.param, uri, directory, templates)


def is_installed(name: str) -> bool:
    """Whether this machine has a server; the one from the wheel always is."""
    return name != "debian" or DEBIAN_BINARIES.exists()


def copy_built_server(name: str, shared: Path, directory: Path) -> set[str]:
    """Copy a stopped server that has all templates into a worker's directory; return their names.

    It takes half a minute to build, so the first worker does it for all. The next builds the other server meanwhile.
    """
    if not build_server(name, shared, wait=False):
        for other in STARTS:
            if is_installed(other):
                build_server(other, shared, wait=False)
        build_server(name, shared, wait=True)
    built = shared / f"built-{name}"
    subprocess.run(["cp", "-a", f"{built}/.", directory], check=True)  # keeps whose files they are
    return {*(directory / "templates").read_text().split()}


def build_server(name: str, shared: Path, *, wait: bool) -> bool:
    """Build a server with all templates and stop it, unless it is there. False: another worker does, and no `wait`."""
    built = shared / f"built-{name}"
    with (shared / f"{built.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        if not (built / "templates").exists():
            built.mkdir()
            with STARTS[name](built / "postgres") as uri:
                server = Server(name, uri, built)
                server.served_database()
                server.rest_database()
            (built / "templates").write_text(" ".join(server.templates))
    return True


@pytest.fixture(scope="session")
def timescaledb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that has TimescaleDB installed and preloaded; in no database is it created yet."""
    binaries = timescaledb_binaries()
    if binaries is None:
        pytest.skip("TimescaleDB is not installed")
    directory = tmp_path_factory.mktemp("timescaledb")
    # no background workers: the one for each database is in the way where databases are copied
    settings = "shared_preload_libraries = 'timescaledb'\ntimescaledb.max_background_workers = 0\n"
    with debian_postgres(directory / "postgres", binaries, settings) as uri:
        yield Server("timescaledb", uri, directory)


@contextmanager
def world_on(server: Server, directory: Path, cap: int, database: str | None = None) -> Iterator[World]:
    """An empty source file with all 15 tables, and a warehouse with all 135, empty too; `database` is its URI."""
    with Collector(directory / "trading_data.db") as collector:
        collector.create()
        yield World(directory, server.home, database or server.built_database(cap), collector, cap)


@pytest.fixture
def world(server: Server, tmp_path: Path) -> Iterator[World]:
    """A world with the usual row cap."""
    with world_on(server, tmp_path, USUAL_CAP) as world:
        yield world


@pytest.fixture
def small_world(server: Server, tmp_path: Path) -> Iterator[World]:
    """A world whose tables keep `SMALL_CAP` rows only."""
    with world_on(server, tmp_path, SMALL_CAP) as world:
        yield world


@pytest.fixture
def bybit_world(server: Server, tmp_path: Path) -> Iterator[BybitWorld]:
    """A world whose source is a Bybit account without executions."""
    with bybit_world_on(server.rest_database(), server.home, tmp_path) as world:
        yield world


@pytest.fixture
def indicators_world(server: Server, tmp_path: Path) -> Iterator[IndicatorsWorld]:
    """A world whose source is its own table of candles, which is empty."""
    with indicators_world_on(server.rest_database(), server.home, tmp_path) as world:
        yield world


@pytest.fixture
def upstox_world(server: Server, tmp_path: Path) -> Iterator[UpstoxWorld]:
    """A world whose source is an Upstox that lists nothing."""
    with upstox_world_on(server.rest_database(), server.home, tmp_path) as world:
        yield world


@pytest.fixture
def accounts_world(server: Server, tmp_path: Path) -> Iterator[AccountsWorld]:
    """A world whose source is an account service without accounts."""
    with accounts_world_on(server.rest_database(), server.home, tmp_path) as world:
        yield world


@pytest.fixture
def tenants(server: Server) -> Iterator[Tenants]:
    """A database whose owner, no superuser, has followed the steps at the head of roles.sql."""
    with tenants_on(server.uri) as tenants:
        yield tenants
