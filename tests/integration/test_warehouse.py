"""A given warehouse: poolers, encodings, certificates, and a home that is in the way."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest
from pydantic import SecretStr

from extract.errors import LockHeldError, WarehouseError
from extract.pooling import backend_pid
from extract.settings import Settings
from extract.warehouse import (
    Connection,
    Warehouse,
    holding_run_lock,
    open_warehouse,
    require_session_pooling,
)
from tests.conftest import Server
from tests.support.collector import Collector, series
from tests.support.servers import DEBIAN_PASSWORD, administer, debian_postgres, pgbouncer
from tests.support.world import World, run_tradehouse

MONDAY = 1_736_121_600  # 2025-01-06 00:00 UTC
on_debian = pytest.mark.only_on("debian")  # a pooler cannot be the one user whom the embedded server lets in
LOCKS = "select count(*) from pg_locks where locktype = 'advisory'"


@contextmanager
def run_lock(warehouse: Warehouse) -> Iterator[Connection]:
    """The run lock of a source, as a run holds it."""
    with closing(warehouse.connect("test", autocommit=True)) as connection, holding_run_lock(connection, "mt5"):
        yield connection


def ask(uri: str, question: str) -> object:
    with closing(psycopg2.connect(uri)) as connection, connection.cursor() as cursor:
        cursor.execute(question)
        row = cursor.fetchone()
    return row[0] if row else None


def opened(uri: str) -> Warehouse:
    return open_warehouse(Settings(_env_file=None, postgresql_uri=SecretStr(uri)))  # type: ignore[call-arg]


@on_debian
def test_a_sync_through_a_pooler_of_sessions(world: World, server: Server) -> None:
    with pgbouncer(world.directory / "pooler", server.uri, "session") as pooled:
        world.uri = pooled.format(database="tradehouse_test")
        world.collector.load_many("EURUSD", series(MONDAY, 30))
        world.sync_and_check()
        world.collector.load_many("EURUSD", series(MONDAY + 9000, 3))
        world.sync_and_check()


@on_debian
def test_a_pooler_of_transactions_is_refused_and_no_lock_stays(world: World, server: Server) -> None:
    direct = world.uri
    world.collector.load_many("EURUSD", series(MONDAY, 30))
    with pgbouncer(world.directory / "pooler", server.uri, "transaction") as pooled:
        world.uri = pooled.format(database="tradehouse_test")
        for command in (["sync"], ["warehouse", "init"]):
            done = world.run(*command)
            assert done.returncode == 2, done.stdout + done.stderr
            (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
            assert "use session pooling (pool_mode = session), or the server's own address" in line
            assert DEBIAN_PASSWORD not in done.stderr
        world.uri = direct
        assert world.query(LOCKS) == [(0,)]
        world.sync_and_check()


@on_debian
@pytest.mark.parametrize("more", ["", "server_round_robin = 1\n"], ids=["last used", "round robin"])
@pytest.mark.parametrize("others", [0, 1, 5])
def test_a_pooler_of_transactions_is_known_whatever_else_goes_through_it(
    server: Server, tmp_path: Path, more: str, others: int
) -> None:
    with pgbouncer(tmp_path / "pooler", server.uri, "transaction", more) as pooled:
        uri = pooled.format(database="postgres")
        before = [psycopg2.connect(uri) for _ in range(others)]
        for connection in before:
            backend_pid(connection)  # each in a transaction
        for connection in before:
            connection.rollback()
        with (
            pytest.raises(WarehouseError, match="session pooling"),
            run_lock(Warehouse(uri, embedded=False)),
        ):
            pass
        for connection in before:
            connection.close()
    assert ask(server.uri.format(database="postgres"), LOCKS) == 0


@on_debian
def test_the_lock_holds_through_a_pooler_of_sessions(server: Server, tmp_path: Path) -> None:
    direct = server.uri.format(database="postgres")
    with pgbouncer(tmp_path / "pooler", server.uri, "session") as pooled:
        warehouse = Warehouse(pooled.format(database="postgres"), embedded=False)
        with run_lock(warehouse) as connection:
            assert backend_pid(connection) != connection.info.backend_pid  # or it would be no pooler
            with pytest.raises(LockHeldError), run_lock(warehouse):
                pass
            with pytest.raises(LockHeldError), run_lock(Warehouse(direct, embedded=False)):
                pass
        assert ask(direct, LOCKS) == 0


def test_a_server_without_a_pooler_is_known_by_one_query(server: Server) -> None:
    with closing(psycopg2.connect(server.uri.format(database="postgres"))) as connection:
        connection.autocommit = True
        sessions = "select count(*) from pg_stat_activity where backend_type = 'client backend'"
        before = ask(server.uri.format(database="postgres"), sessions)
        require_session_pooling(connection)
        assert ask(server.uri.format(database="postgres"), sessions) == before


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_hold_every_character(server: Server, tmp_path: Path, encoding: str) -> None:
    administer(
        server.uri,
        [
            "drop database if exists other_letters with (force)",
            f"create database other_letters template template0 encoding '{encoding}' lc_collate 'C' lc_ctype 'C'",
        ],
    )
    environment = {
        "SQLITE_PATH": str(tmp_path / "trading_data.db"),
        "POSTGRESQL_URI": server.uri.format(database="other_letters"),
        "TRADEHOUSE_HOME": str(tmp_path / "home"),
    }
    with Collector(tmp_path / "trading_data.db") as collector:
        collector.create()
        for command in (["sync"], ["status"], ["warehouse", "init"]):
            done = run_tradehouse(*command, environment=environment, cwd=tmp_path)
            assert done.returncode == 2, done.stdout + done.stderr
            (line,) = done.stderr.splitlines()
            assert f"database other_letters stores text as {encoding}" in line
            assert "create database tradehouse template template0 encoding 'UTF8' locale 'C'" in line
    administer(
        server.uri,
        [
            "drop database if exists tradehouse",
            "create database tradehouse template template0 encoding 'UTF8' locale 'C'",
        ],
    )
    assert opened(server.uri.format(database="tradehouse"))
    administer(server.uri, ["drop database tradehouse", "drop database other_letters"])


def test_text_is_utf8_whatever_the_role_prefers(server: Server) -> None:
    administer(server.uri, ["drop role if exists latin", f"create role latin login password '{DEBIAN_PASSWORD}'"])
    administer(server.uri, ["alter role latin set client_encoding = 'LATIN1'"])
    uri = server.uri.replace("//postgres", "//latin").format(database="postgres")
    with opened(uri).reading("test") as connection, connection.cursor() as cursor:
        cursor.execute("select %s", ("Ж",))
        assert cursor.fetchone() == ("Ж",)
    administer(server.uri, ["drop role latin"])


def test_psql_duckdb_and_dbt_connect_with_a_blank_in_the_home(tmp_path: Path) -> None:
    home = tmp_path / "my files"
    with Collector(tmp_path / "trading_data.db") as collector:
        collector.create()
        collector.load_many("EURUSD", series(MONDAY, 3))
        world = World(tmp_path, home, "embedded", collector)
        try:
            done = world.run("warehouse", "init")
            assert done.returncode == 0, done.stderr
            assert (done.stdout.count("\n"), done.stderr) == (1, "")
            asked = world.run("query", "select 40 + count(*) as a from wh.ops.sync_runs", "--format", "csv")
            assert (asked.returncode, asked.stdout) == (0, "a\n40\n"), asked.stderr
            world.uri = world.run("warehouse", "uri").stdout.strip()
            debug = world.dbt("debug")
            assert "All checks passed!" in debug.stdout, debug.stdout
            if shutil.which("psql"):
                counted = subprocess.run(
                    ["psql", "-AtX", world.uri, "-c", "select 42"], capture_output=True, text=True, check=True
                )
                assert counted.stdout == "42\n"
            assert opened_embedded(home).description == f"embedded Postgres in {home / 'postgres'}"
        finally:
            world.uri = "embedded"
            assert world.run("warehouse", "stop").stdout == "stopped\n"


def opened_embedded(home: Path) -> Warehouse:
    return open_warehouse(Settings(_env_file=None, tradehouse_home=home))  # type: ignore[call-arg]


def test_a_given_warehouse_is_described_without_its_password(server: Server) -> None:
    described = opened(server.uri.format(database="postgres")).description
    assert described.startswith("postgresql://postgres")
    assert "/postgres?" in described
    assert DEBIAN_PASSWORD not in described
    assert "s3cret" not in described


@pytest.mark.parametrize("command", ["sync", "status", "env", "warehouse uri", "warehouse init", "reconcile"])
def test_a_home_that_is_a_file_is_one_line(tmp_path: Path, command: str) -> None:
    (tmp_path / "home").touch()
    environment = {"TRADEHOUSE_HOME": str(tmp_path / "home"), "SQLITE_PATH": str(tmp_path / "trading_data.db")}
    done = run_tradehouse(*command.split(), environment=environment, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: TRADEHOUSE_HOME: {tmp_path}/home is not a directory\n"


def test_dbt_is_told_the_certificate_of_the_address(tmp_path: Path) -> None:
    if not Path("/usr/lib/postgresql/15/bin").exists():
        pytest.skip("Debian's PostgreSQL 15 is not installed")
    with debian_postgres(tmp_path / "postgres", more_settings="ssl_ca_file = 'server.crt'\n") as uri:
        data, client = tmp_path / "postgres" / "data", tmp_path / "client"
        administer(uri, ["create role holder login", "create database mine owner holder"])
        for arguments in (
            f"req -new -nodes -subj /CN=holder -keyout {client}.key -out {client}.csr",
            f"x509 -req -days 2 -in {client}.csr -CA {data}/server.crt -CAkey {data}/server.key -CAcreateserial"
            f" -CAserial {client}.srl -out {client}.crt",
        ):
            subprocess.run(["openssl", *arguments.split()], check=True, capture_output=True)
        (tmp_path / "client.key").chmod(0o600)
        rules = data / "pg_hba.conf"
        rules.write_text("hostssl all holder 127.0.0.1/32 cert\n" + rules.read_text())
        administer(uri, ["select pg_reload_conf()"])
        place = psycopg2.extensions.parse_dsn(uri.format(database="mine"))
        with Collector(tmp_path / "trading_data.db") as collector:
            collector.create()
            world = World(
                tmp_path,
                tmp_path / "home",
                f"postgresql://holder@localhost:{place['port']}/mine?sslmode=verify-full"
                f"&sslrootcert={data}/server.crt&sslcert={client}.crt&sslkey={client}.key"
                "&channel_binding=disable&target_session_attrs=read-write&options=-c%20work_mem%3D5MB",
                collector,
            )
            exported = world.run("env").stdout
            for variable in ("PGSSLCERT", "PGSSLKEY", "PGSSLROOTCERT", "PGCHANNELBINDING", "PGTARGETSESSIONATTRS"):
                assert f"export {variable}=" in exported, exported
            assert "export PGOPTIONS='-c work_mem=5MB'" in exported
            debug = world.dbt("debug")
            assert "All checks passed!" in debug.stdout, debug.stdout
