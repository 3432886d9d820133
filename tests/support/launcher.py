"""Starts programs in a process that has imported their libraries: two thirds of a short command's time is imports.

A `Launcher` keeps such a process, which forks for every program. The fork gets the program's own environment, directory
and output, and imports the project's own modules itself, so that all they read at import is the program's.

The `tradehouse` command starts dbt as a process of its own. A command that a launcher has started gets that process
from the launcher of dbt.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

from extract.dbt_process import GARBAGE_THRESHOLDS

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = {
    "tradehouse": (
        *("click", "duckdb", "httpx", "psycopg2.extras", "pydantic", "pydantic_settings", "rich.console"),
        *("rich.progress", "rich.table", "tenacity", "yaml"),
    ),
    "dbt": ("dbt.cli.main", "dbt.adapters.postgres"),
}
LONGEST_ORDER = 1 << 17
DATABASE = "tradehouse_test"
"""The name of the tests' database: one for all, for dbt parses the project again when its profile changes."""
# These decide how the interpreter itself starts, so such a command needs one of its own.
OF_THE_INTERPRETER = ("PYTHON", "LANG", "LC_", "LD_")


class Launcher:
    """Runs `tradehouse`, or `dbt`, any number of times."""

    def __init__(self, program: str) -> None:
        self._program = program
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        passed = [theirs.fileno()]
        if program == "tradehouse":
            passed.append(launcher("dbt").control.fileno())
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.launcher", program, *map(str, passed)],
                env={"PATH": os.environ["PATH"]},
                cwd=ROOT,
                pass_fds=passed,
                stdin=subprocess.DEVNULL,
            )
        atexit.register(self.close)

    def close(self) -> None:
        """End the process; programs that still run go on."""
        self.control.close()
        self._process.terminate()
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
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            program = self.start(arguments, environment, cwd, (out, err), parsed=parsed)
            try:
                code = program.wait(timeout)
            except subprocess.TimeoutExpired:
                program.kill()
                code = program.wait()
            printed = [_text(file) for file in (out, err)]
        return subprocess.CompletedProcess([self._program, *arguments], code, *printed)

    def start(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        cwd: Path,
        output: tuple[IO[bytes], IO[bytes]],
        *,
        parsed: bool = False,
    ) -> Forked:
        """Start the program, its stdout and stderr in two files; do not wait for it."""
        assert can_fork(environment), "such an interpreter cannot be forked: start one of its own"
        wanted = {"arguments": list(arguments), "environment": dict(environment), "cwd": str(cwd), "parsed": parsed}
        with Path(os.devnull).open() as nothing:
            streams = [file.fileno() for file in (nothing, *output)]
            return Forked(_start(self.control, {"program": self._program, **wanted}, streams), output[0])


@cache
def launcher(program: str) -> Launcher:
    """This process's launcher of a program."""
    return Launcher(program)


class Forked:
    """A program that a launcher has started: of `subprocess.Popen` what is used of it here.

    Args:
        told: a pipe that tells its process id and then its exit code.
        printed: where it writes, for `communicate`.
    """

    def __init__(self, told: IO[bytes], printed: IO[bytes] | None = None) -> None:
        self._told = told
        self._printed = printed
        self._waiting = threading.Lock()
        self.pid = int(told.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return its exit code.

        Raises:
            subprocess.TimeoutExpired: it still runs after so many seconds.
        """
        expired = subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        if not self._waiting.acquire(timeout=-1 if timeout is None else timeout):
            raise expired
        try:
            if self.returncode is None:
                if not select.select([self._told], [], [], timeout)[0]:
                    raise expired
                self.returncode = int(self._told.readline())
                self._told.close()
            return self.returncode
        finally:
            self._waiting.release()

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """Wait for its end and return what it has written.

        Raises:
            subprocess.TimeoutExpired: it still runs after so many seconds.
        """
        self.wait(timeout)
        assert self._printed is not None
        return _text(self._printed), None

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


class ForkedDbt(Forked):
    """What `subprocess.Popen` is to `extract.dbt_runner`: dbt's process, from the launcher at the other end."""

    def __init__(
        self, control: socket.socket, command: Sequence[str], env: Mapping[str, str], stderr: IO[bytes], **_: object
    ) -> None:
        python, module, name, *arguments = command
        assert [python, module, name] == [sys.executable, "-m", "extract.dbt_process"], command
        theirs_in, our_in = os.pipe()
        our_out, theirs_out = os.pipe()
        wanted = {"arguments": arguments, "environment": dict(env), "cwd": str(Path.cwd()), "parsed": False}
        told = _start(control, {"program": "dbt_process", **wanted}, [theirs_in, theirs_out, stderr.fileno()])
        os.close(theirs_in)
        os.close(theirs_out)
        self.stdin, self.stdout = os.fdopen(our_in, "w"), os.fdopen(our_out)
        super().__init__(told)


@contextmanager
def dbt_forked(control: socket.socket) -> Iterator[None]:
    """Have `extract.dbt_runner` of this process start dbt's process through the launcher at the other end."""
    from extract import dbt_runner

    module = vars(dbt_runner)
    own = module["subprocess"]
    module["subprocess"] = SimpleNamespace(Popen=partial(ForkedDbt, control), PIPE=subprocess.PIPE)
    try:
        yield
    finally:
        module["subprocess"] = own


def _start(control: socket.socket, order: Mapping[str, Any], streams: Sequence[int]) -> IO[bytes]:
    """Have a program started on three streams; return a pipe that tells its process id and then its exit code."""
    reading, writing = os.pipe()
    socket.send_fds(control, [json.dumps(order).encode()], [*streams, writing])
    os.close(writing)
    return os.fdopen(reading, "rb", buffering=0)  # so that `select` sees all that has not been read


def _text(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode())


def can_fork(environment: Mapping[str, str]) -> bool:
    """Whether a command with this environment can come from a launcher."""
    return not any(name.startswith(OF_THE_INTERPRETER) for name in environment)


def _serve(program: str, control: socket.socket, dbt: socket.socket | None = None) -> None:
    """Fork for every order that arrives; end with the connection."""
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    for name in LIBRARIES[program]:
        importlib.import_module(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel then collects what the forks leave
    manifest: Any = None
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, LONGEST_ORDER, 4)
        if not message:
            return
        order = json.loads(message)
        if manifest is None and (order["parsed"] or _is_usual_dbt(order)):
            # also for a process that parses by itself: what dbt prepares when it first parses is prepared then
            manifest = _parse(order)
            gc.freeze()
        if os.fork() == 0:
            control.close()
            _watch(order, manifest if order["parsed"] else None, dbt, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _is_usual_dbt(order: Mapping[str, Any]) -> bool:
    """Whether it is for dbt's process on the project of the repository and a database of the usual name."""
    environment = order["environment"]
    usual = {"DBT_PROJECT_DIR": str(ROOT / "dbt_project"), "PGDATABASE": DATABASE}
    return bool(order["program"] == "dbt_process" and usual.items() <= environment.items())


def _parse(order: Mapping[str, Any]) -> Any:
    """The project of the repository as dbt parses it with the environment of an order.

    Without the static parser, whose threads a fork would wait for in vain when it parses itself.
    """
    from dbt.cli.main import dbtRunner

    os.environ.update(order["environment"])
    quiet = ["--quiet", "--log-level", "none", "--no-write-json"]
    return dbtRunner().invoke([*quiet, "--no-static-parser", "parse"]).result


def _watch(
    order: Mapping[str, Any], manifest: Any, dbt: socket.socket | None, stdin: int, out: int, err: int, told: int
) -> None:
    """Fork once more for the program itself; tell its process id, and its exit code when it has ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(told)
        _become(order, manifest, dbt, (stdin, out, err))
    for descriptor in (stdin, out, err):
        os.close(descriptor)  # whoever reads from the program waits for the end of these
    os.write(told, f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    with suppress(BrokenPipeError):
        os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(order: Mapping[str, Any], manifest: Any, dbt: socket.socket | None, streams: Sequence[int]) -> None:
    """Be the program, and end as an interpreter does."""
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    os.chdir(order["cwd"])
    program = order["program"]
    sys.argv = [str(Path(sys.executable).parent / program), *order["arguments"]]
    sys.path[0] = str(Path(sys.executable).parent)  # where the installed script is, not the tests' directory
    code: object = 1
    try:
        _call(program, manifest, dbt)
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    with suppress(Exception):
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(code or 0))  # type: ignore[call-overload]


def _call(program: str, manifest: Any, dbt: socket.socket | None) -> None:
    """The program's main function, which ends by `SystemExit`."""
    if program == "dbt":
        from dbt.cli.main import cli

        cli(prog_name=program, obj={"manifest": manifest})
    elif program == "dbt_process":
        from extract.dbt_process import main as dbt_process

        os.setsid()
        dbt_process()
        sys.exit()
    else:
        from tradehouse.main import main

        assert dbt is not None
        with dbt_forked(dbt):
            main(prog_name=program)


if __name__ == "__main__":
    own, *of_dbt = (socket.socket(fileno=int(number)) for number in sys.argv[2:])
    _serve(sys.argv[1], own, *of_dbt)
