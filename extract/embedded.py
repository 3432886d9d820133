"""The embedded Postgres: the wheel's programs, a private data directory, and a private socket.

Only the system user who runs `tradehouse` can connect, as any role (peer authentication). There is no password and no
TCP port. Postgres does not run as root, so for root it runs as the system user `pgserver`.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shlex
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

import psutil  # type: ignore[import-untyped]

from extract.errors import SettingsError, WarehouseError
from extract.system_user import (
    MAJOR,
    SYSTEM_DIRECTORY,
    Account,
    find_account,
    find_programs,
    is_private,
    last_line,
    may_enter,
    run_as,
    system_directory,
)

PORT = 5432  # part of the socket's name; the server does not listen on TCP
LONGEST_SOCKET_PATH = 103  # bytes: macOS takes 103, Linux 107
SHORT_PARENT = Path("/tmp")
SECONDS_TO_START = 60


@dataclass(frozen=True)
class EmbeddedServer:
    """A running server: its data, the directory of its socket, and the system user it runs as."""

    data: Path
    sockets: Path
    user: str

    def uri(self, database: str) -> str:
        """A libpq URI. `requirepeer` makes the client refuse a socket that another user's program answers on."""
        query = {"host": str(self.sockets), "port": PORT, "requirepeer": self.user}
        return f"postgresql://postgres@/{database}?{urlencode(query, quote_via=quote, safe='/')}"


def start(home: Path) -> EmbeddedServer:
    """Start the server of a home unless it runs already. Two processes that do so at once start only one.

    An older version may have left the server or its data directory open to local users; that is closed first.

    Args:
        home: `TRADEHOUSE_HOME`; it is made if it is missing.

    Raises:
        SettingsError: the home cannot be made.
        WarehouseError: the server cannot be started, or cannot be kept private.
    """
    account = find_account(make=True)
    try:
        data = _data_directory(home, account)
        with _locked(data):
            return _running(data, account) or _start(data, account)
    except OSError as error:
        raise WarehouseError(f"the embedded Postgres did not start: {_words(error)}") from None


def stop(home: Path) -> bool:
    """Stop the server of a home; say whether one was running.

    Raises:
        WarehouseError: it belongs to another user, or does not stop.
    """
    try:
        data = (home / "postgres").resolve()
        if not data.is_dir():
            return False
        account = find_account()
        _require_owner(data, account)
        with _locked(data):
            if _postmaster(data, account) is None:
                return False
            _stop(data, account)
    except OSError as error:
        raise WarehouseError(f"the embedded Postgres cannot be stopped: {_words(error)}") from None
    return True


def _data_directory(home: Path, account: Account) -> Path:
    """The data directory, made if it is missing."""
    try:
        home.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise SettingsError(f"TRADEHOUSE_HOME: {home} is not a directory") from None
    except OSError as error:
        raise SettingsError(f"TRADEHOUSE_HOME: {home} cannot be made: {error.strerror}") from None
    data = home / "postgres"
    if not data.is_dir():
        with suppress(FileExistsError):  # another process was faster
            if data.is_symlink() or may_enter(home, account):
                data.mkdir(mode=0o700)
            else:
                _link_outside(data)
    data = data.resolve()
    if not str(data).isprintable():
        raise SettingsError(f"TRADEHOUSE_HOME: {str(data)!r} has characters that cannot be printed")
    _require_owner(data, account)
    if not may_enter(data.parent, account):
        raise WarehouseError(
            f"root runs the embedded Postgres as user {account.name}, who may not enter {data.parent}: move {data} to "
            f"{SYSTEM_DIRECTORY} and leave a link to it there, run tradehouse as another user, or set POSTGRESQL_URI"
        )
    return data


def _link_outside(data: Path) -> None:
    """Make root's data directory where the server's user can reach it, and put a link to it into the private home."""
    outside = Path(tempfile.mkdtemp(prefix="data-", dir=system_directory()))
    try:
        data.symlink_to(outside)
    except FileExistsError:
        outside.rmdir()


def _require_owner(data: Path, account: Account) -> None:
    owner = data.stat().st_uid
    fresh = account.is_another and owner == 0 and not any(data.iterdir())  # _start gives it to the server's user
    if owner != account.uid and not fresh:
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = str(owner)
        raise WarehouseError(
            f"the embedded Postgres in {data} belongs to user {name}, not to {account.name}: run tradehouse as its "
            "owner, or set another TRADEHOUSE_HOME"
        )


@contextmanager
def _locked(data: Path) -> Iterator[None]:
    """Hold the lock on the directory itself: initdb wants it empty, and nobody else can open it."""
    handle = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _running(data: Path, account: Account) -> EmbeddedServer | None:
    """The server, if it runs and is private. A server that other users can reach is stopped."""
    deadline = time.monotonic() + SECONDS_TO_START
    while _postmaster(data, account) is not None:
        lines = _pid_file(data)
        if len(lines) >= 8 and lines[7].strip() == "ready":
            sockets = Path(lines[4])
            if _rules_hold(data, account) and is_private(sockets, account):
                return EmbeddedServer(data, sockets, account.name)
            _stop(data, account)
        elif time.monotonic() > deadline:
            raise WarehouseError(f"the embedded Postgres is neither ready nor gone; its log is {data / 'log'}")
        else:  # it is starting or stopping
            time.sleep(0.05)
    return None


def _start(data: Path, account: Account) -> EmbeddedServer:
    programs = find_programs(account)
    if not (data / "PG_VERSION").exists():
        _make_cluster(data, account, programs)
    version = (data / "PG_VERSION").read_text().strip()
    if version != str(MAJOR):
        raise WarehouseError(
            f"{data} holds data of Postgres {version}, and the embedded one is {MAJOR}: move it away, or set "
            f"POSTGRESQL_URI to a Postgres {version} that has it"
        )
    _write_rules(data, account)
    sockets = _socket_directory(data, account)
    settings = {
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": '"{}"'.format(str(sockets).replace('"', '""')),
        "unix_socket_permissions": "0700",
    }
    options = " ".join(f"-c {name}={shlex.quote(value)}" for name, value in settings.items())
    # pg_ctl hands its arguments to a shell unquoted; "." and "log" need no quotes, whatever the path is
    arguments = ["start", "-s", "-w", "-t", str(SECONDS_TO_START), "-D", ".", "-l", "log", "-o", options]
    log_before, deadline = _log(data), time.monotonic() + 10
    while run_as(account, programs / "pg_ctl", arguments, data):
        problem = last_line(_log(data)[len(log_before) :])
        # the processes and the memory of a killed server remain for a moment
        passing = "still in use" in problem or "already exists" in problem
        if not passing or time.monotonic() > deadline:
            raise WarehouseError(f"the embedded Postgres did not start: {problem}; its log is {data / 'log'}")
        time.sleep(0.1)
    return EmbeddedServer(data, sockets, account.name)


def _stop(data: Path, account: Account) -> None:
    sockets = Path(_pid_file(data)[4])
    arguments = ["stop", "-s", "-w", "-t", str(SECONDS_TO_START), "-m", "fast", "-D", "."]
    if problem := run_as(account, find_programs(account) / "pg_ctl", arguments, data):
        raise WarehouseError(f"the embedded Postgres did not stop: {problem}; its log is {data / 'log'}")
    if sockets != data and is_private(sockets, account):
        with suppress(OSError):
            sockets.rmdir()


def _make_cluster(data: Path, account: Account, programs: Path) -> None:
    if any(data.iterdir()):
        raise WarehouseError(f"{data} holds other files than a Postgres database: move them away")
    if account.is_another:
        os.chown(data, account.uid, account.gid)
    data.chmod(0o700)
    # fixed, so that the locale and the encoding do not depend on the user
    arguments = ["--no-locale", "--encoding=UTF8", "--auth=peer", "-U", "postgres", "-D", str(data)]
    if problem := run_as(account, programs / "initdb", arguments, data):
        raise WarehouseError(f"the embedded Postgres cannot be made in {data}: {problem}")


def _rules(account: Account) -> dict[str, str]:
    """The rules for connections: only the one system user, over the socket, as any role."""
    client = account.client.replace('"', '""')
    return {
        "pg_hba.conf": "# Written by tradehouse.\nlocal all all peer map=tradehouse\n",
        "pg_ident.conf": f'# Written by tradehouse.\ntradehouse "{client}" all\n',
    }


def _rules_hold(data: Path, account: Account) -> bool:
    return all((data / name).read_text(errors="replace") == text for name, text in _rules(account).items())


def _write_rules(data: Path, account: Account) -> None:
    for name, text in _rules(account).items():
        # replace the file, not its contents: root must not follow a link that the server's user may have made
        handle, new = tempfile.mkstemp(prefix=f"{name}.", dir=data)
        with os.fdopen(handle, "w") as file:
            file.write(text)
            if account.is_another:
                os.fchown(file.fileno(), account.uid, account.gid)
        Path(new).replace(data / name)


def _socket_directory(data: Path, account: Account) -> Path:
    """The data directory if its path is short enough, else a private directory with a short path.

    The server writes its choice into postmaster.pid, where other processes find it.
    """
    socket = os.fsencode(data / f".s.PGSQL.{PORT}")
    if len(socket) <= LONGEST_SOCKET_PATH and b"," not in socket and is_private(data, account):
        return data
    before = _pid_file(data)  # left by a server that was killed
    if len(before) > 4 and is_private(Path(before[4]), account):
        return Path(before[4])
    parent = SHORT_PARENT.stat()
    if parent.st_mode & 0o022 and not parent.st_mode & stat.S_ISVTX:
        raise WarehouseError(
            f"{data} is too long for a socket, and in {SHORT_PARENT} every user can replace what others made: set "
            "TRADEHOUSE_HOME to a shorter path"
        )
    sockets = Path(tempfile.mkdtemp(prefix="tradehouse-", dir=SHORT_PARENT))
    if account.is_another:
        os.chown(sockets, account.uid, account.gid)
    return sockets


def _pid_file(data: Path) -> list[str]:
    """Lines of postmaster.pid: pid, data, start, port, socket directory, address, memory, status."""
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _postmaster(data: Path, account: Account) -> int | None:
    """The pid of the server's first process; None if the pid file is left over from a server that is gone."""
    with suppress(ValueError, IndexError, psutil.Error):
        process = psutil.Process(int(_pid_file(data)[0]))
        alive = process.status() != psutil.STATUS_ZOMBIE and process.uids().real == account.uid
        if alive and process.name() == "postgres":
            return int(process.pid)
    return None


def _log(data: Path) -> str:
    with suppress(OSError):
        return (data / "log").read_text(errors="replace")
    return ""


def _words(error: OSError) -> str:
    return f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror or error)
