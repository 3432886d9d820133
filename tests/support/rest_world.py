"""A pipeline under test whose source is a service of its own process instead of a file."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Generic, Protocol, TypeVar
from urllib.parse import quote

from extract.dbt_runner import Dbt
from extract.project_files import project_fingerprint
from extract.records import Run
from extract.refresh import keep_models
from extract.schema import prepare
from extract.settings import Settings, load_project
from extract.warehouse import Warehouse
from tests.support.launcher import dbt_forked, launcher
from tests.support.servers import DEBIAN_PASSWORD
from tests.support.world import World


class Fake(Protocol):
    """What a fake service tells its clients."""

    @property
    def settings(self) -> Mapping[str, str]:
        """The environment of a client that has the right key."""


AnyFake = TypeVar("AnyFake", bound=Fake)


@dataclass
class RestWorld(World, Generic[AnyFake]):
    """A world whose command talks to a fake service; it has no SQLite file."""

    fake: AnyFake = field(kw_only=True)
    secrets: tuple[str, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        """The settings the command gets."""
        return {"POSTGRESQL_URI": self.uri, "TRADEHOUSE_HOME": str(self.home), **self.fake.settings, **self.settings}

    def call(self, *arguments: str, code: int) -> subprocess.CompletedProcess[str]:
        """Run `tradehouse …`, demand its exit code, and that neither a secret nor a traceback shows."""
        done = self.run(*arguments)
        printed = done.stdout + done.stderr
        assert done.returncode == code, printed
        assert "Traceback" not in printed, printed
        for secret in (*self.secrets, DEBIAN_PASSWORD, quote(DEBIAN_PASSWORD, safe="")):
            assert secret not in printed
        return done


def build_models(uri: str, home: Path, sources: Sequence[str]) -> None:
    """Build the models of sources in a database, as a first run of each would, with nothing landed."""
    warehouse = Warehouse(uri, embedded=False)
    settings = Settings(tradehouse_home=home)
    with closing(warehouse.connect("template", autocommit=True)) as connection, dbt_forked(launcher("dbt").control):
        prepare(warehouse, connection, load_project())
        for source in sources:
            started_at = datetime.now(timezone.utc)
            selection = ["--select", f"tag:{source}", "--exclude-resource-type", "test"]
            result = Dbt(settings, warehouse, source).run("build", *selection)
            assert not result.problems, result.problems
            keep_models(connection, source, result.models)
            Run.record_past(connection, source, "template", started_at, [], project_fingerprint=project_fingerprint())
