"""Doing things as another system user: who may not get at what the first one made."""

from __future__ import annotations

import os
import pwd
import traceback
from collections.abc import Callable

import pytest


def act_as(name: str, action: Callable[[], object]) -> str:
    """Run an action in a child process as a system user; return what it returns, or raises, as text.

    Skips the test where this process may not become that user.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    user = pwd.getpwnam(name)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
            told = str(action())
        except BaseException as error:
            told = "".join(traceback.format_exception_only(error))
        os.write(writing, told.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return told
