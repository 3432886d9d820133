"""Starts commands in a process that has imported their libraries: two thirds of a short command's time is imports.

A `Launcher` keeps such a process, which forks for every command. The fork gets the command's own environment, directory
and output, and imports the project's own modules itself, so that all they read at import is the command's.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from extract.dbt_process import GARBAGE_THRESHOLDS

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = {
    "tradehouse": (
        *("click", "duckdb", "httpx", "psycopg2.extras", "pydantic", "pydantic_settings", "rich.console"),
        *("rich.progress", "rich.table", "tenacity", "yaml"),
    ),
    "dbt": ("dbt.cli.main", "dbt.adapters.postgres"),
}
# These decide how the interpreter itself starts, so such a command needs one of its own.
OF_THE_INTERPRETER = ("PYTHON", "LANG", "LC_", "LD_")


class Launcher:
    """Runs one program, `tradehouse` or `dbt`, any number of times."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.launcher", program, str(theirs.fileno())],
                env={"PATH": os.environ["PATH"]},
                cwd=ROOT,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        atexit.register(self.close)

    def close(self) -> None:
        """End the process; commands that still run go on."""
        self._control.close()
        self._process.wait()

    def run(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        cwd: Path,
        timeout: float,
        *,
        parsed: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run the program to its end, as `subprocess.run` would with its output captured as text.

        `parsed`: dbt gets the project as this launcher has parsed it once; with the profile and variables of the first
        such command. dbt itself would compare the files and parse what differs.
        """
        reading, writing = os.pipe()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, os.fdopen(reading) as done:
            wanted = {"arguments": list(arguments), "environment": dict(environment), "cwd": str(cwd), "parsed": parsed}
            order = json.dumps(wanted).encode()
            head = len(order).to_bytes(4, "big")
            socket.send_fds(self._control, [head], [out.fileno(), err.fileno(), writing])
            os.close(writing)
            self._control.sendall(order)
            guard = threading.Timer(timeout, os.kill, [int(done.readline()), signal.SIGKILL])
            guard.start()
            code = int(done.readline())
            guard.cancel()
            printed = [_text(file) for file in (out, err)]
        return subprocess.CompletedProcess([self._program, *arguments], code, *printed)


@cache
def launcher(program: str) -> Launcher:
    """This process's launcher of a program."""
    return Launcher(program)


def _text(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode())


def can_fork(environment: Mapping[str, str]) -> bool:
    """Whether a command with this environment can come from a launcher."""
    return not any(name.startswith(OF_THE_INTERPRETER) for name in environment)


def _serve(program: str, control: socket.socket) -> None:
    """Fork for every order that arrives; end with the connection."""
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    for name in LIBRARIES[program]:
        importlib.import_module(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel then collects what the forks leave
    manifest: Any = None
    while True:
        head, descriptors, _, _ = socket.recv_fds(control, 4, 3)
        if not head:
            return
        order = json.loads(control.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL))
        if order["parsed"] and manifest is None:
            manifest = _parse(order)
            gc.freeze()
        if os.fork() == 0:
            control.close()
            _watch(program, order, manifest if order["parsed"] else None, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _parse(order: Mapping[str, Any]) -> Any:
    """The project of the repository as dbt parses it with the environment of an order.

    Without the static parser, whose threads a fork would wait for in vain when it parses itself.
    """
    from dbt.cli.main import dbtRunner

    os.environ.update(order["environment"])
    quiet = ["--quiet", "--log-level", "none", "--no-write-json"]
    return dbtRunner().invoke([*quiet, "--no-static-parser", "parse"]).result


def _watch(program: str, order: Mapping[str, Any], manifest: Any, out: int, err: int, done: int) -> None:
    """Fork once more for the command itself; tell its process id, and its exit code when it has ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(done)
        _become(program, order, manifest, out, err)
    os.write(done, f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    os.write(done, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(program: str, order: Mapping[str, Any], manifest: Any, out: int, err: int) -> None:
    """Be the command, and end as an interpreter does."""
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    os.chdir(order["cwd"])
    sys.argv = [str(Path(sys.executable).parent / program), *order["arguments"]]
    sys.path[0] = str(Path(sys.executable).parent)  # where the installed script is, not the tests' directory
    code: object = 1
    try:
        if program == "dbt":
            from dbt.cli.main import cli

            cli(prog_name=program, obj={"manifest": manifest})
        else:
            from tradehouse.main import main

            main(prog_name=program)
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    with contextlib.suppress(Exception):
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(code or 0))  # type: ignore[call-overload]


if __name__ == "__main__":
    _serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
