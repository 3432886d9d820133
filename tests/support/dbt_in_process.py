"""dbt in this process with a project parsed once: for tests that run it many times."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dbt.cli.main import dbtRunner

from extract.dbt_runner import prepare_environment
from extract.settings import Settings
from extract.warehouse import Warehouse

QUIET = ("--quiet", "--log-level", "none", "--log-level-file", "none", "--no-write-json")


class DbtInProcess:
    """dbt on the project and a warehouse, with working files under the settings' home."""

    def __init__(self, settings: Settings, warehouse: Warehouse) -> None:
        self._environment = prepare_environment(settings, warehouse, "dbt-in-process")
        self._manifest: Any = None

    def run(self, *arguments: str) -> dict[str, str]:
        """Run a command over nodes; return each one's status."""
        with _added_to_environment(self._environment):
            if self._manifest is None:
                self._manifest = dbtRunner().invoke([*QUIET, "parse"]).result
            done = dbtRunner(manifest=self._manifest).invoke([*QUIET, *arguments])
        assert done.exception is None, done.exception
        broken = {each.node.name: each.message for each in done.result.results if str(each.status) == "error"}
        assert not broken, broken
        return {each.node.name: str(each.status) for each in done.result.results}


@contextmanager
def _added_to_environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the block alone: libpq's would lead later connections of the process astray."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
