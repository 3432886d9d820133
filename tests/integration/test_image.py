"""The image: the Dockerfile's own steps in an empty directory and an empty venv, then a run against a Postgres."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.conftest import Server
from tests.support.world import ROOT

DOCKERFILE = ROOT / "deploy" / "Dockerfile"
INSTALLED = "import importlib.metadata as m, json; print(json.dumps([d.name for d in m.distributions()]))"

COUNT = """
import os, psycopg2
cursor = psycopg2.connect(os.environ["POSTGRESQL_URI"]).cursor()
cursor.execute("select count(*) from public.eurusd_h1")
print(cursor.fetchone()[0])
"""


@dataclass
class Image:
    """What the steps of a Dockerfile leave: files below `root`, variables, the directory, how it is started."""

    root: Path
    variables: dict[str, str] = field(default_factory=dict)
    directory: str = "/"
    entry: list[str] = field(default_factory=list)

    def inside(self, path: str) -> Path:
        """Where a path of the image lies on this machine."""
        return self.root / (Path(self.directory) / path).relative_to("/")

    @property
    def environment(self) -> dict[str, str]:
        """The variables, with the paths where they lie, and the machine's own way to its packages."""
        index = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        index |= {"PIP_CACHE_DIR": str(Path.home() / ".cache" / "pip"), "PIP_COMPILE": "0"}
        own = {
            name: str(self.inside(value)) if value.startswith("/") else value for name, value in self.variables.items()
        }
        path = f"{self.root}/stand-ins:{self.root}/venv/bin:{os.environ['PATH']}"
        return index | {"PATH": path, "HOME": str(self.root)} | own

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the image's directory, with its variables."""
        directory, environment = self.inside("."), self.environment | variables
        return subprocess.run(
            command, cwd=directory, env=environment, capture_output=True, text=True, check=False, timeout=300
        )


def without_what_is_ignored(directory: str, names: list[str]) -> set[str]:
    """What the .dockerignore file keeps out of a copied folder."""
    is_dbt = Path(directory) == ROOT / "dbt_project"
    return {*names} & {"__pycache__", *(("target", "logs", "profiles.yml", ".user.yml") if is_dbt else ())}


def follow(dockerfile: Path, image: Image) -> None:
    """Do each step of the Dockerfile; one of an unknown kind fails."""
    for line in dockerfile.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        step, _, rest = line.strip().partition(" ")
        if step in ("", "#", "FROM", "USER", "STOPSIGNAL", "VOLUME", "CMD"):
            continue
        if step == "WORKDIR":
            image.directory = rest
            image.inside(".").mkdir(parents=True, exist_ok=True)
        elif step == "ENV":
            image.variables |= dict(each.split("=", 1) for each in shlex.split(rest))
            image.variables.pop("PIP_NO_CACHE_DIR", None)  # it makes an image small, and a test slow
        elif step == "COPY":
            *sources, target = shlex.split(rest)
            for source in sources:
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, image.inside(target), ignore=without_what_is_ignored)
                else:
                    shutil.copy(ROOT / source, image.inside(target))
        elif step == "RUN":
            done = image.run("sh", "-c", rest)
            assert done.returncode == 0, done.stdout + done.stderr
        elif step == "ENTRYPOINT":
            image.entry = yaml.safe_load(rest)
        else:
            raise AssertionError(f"a step this test does not know: {line}")


@pytest.mark.only_on("embedded")
def test_the_image_runs_with_the_runtime_packages_alone(server: Server, tmp_path: Path) -> None:
    image = Image(tmp_path)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    (tmp_path / "stand-ins").mkdir()
    for program in ("groupadd", "useradd"):  # the users of this machine stay as they are
        (tmp_path / "stand-ins" / program).symlink_to("/bin/true")
    follow(DOCKERFILE, image)

    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = {re.sub(r"[-_.]+", "-", name) for name in re.findall(r"^([a-z0-9_.-]+)", lock, re.MULTILINE)}
    installed = {
        re.sub(r"[-_.]+", "-", name).lower() for name in json.loads(image.run("python", "-c", INSTALLED).stdout)
    }
    assert installed >= {"tradehouse", "dbt-postgres", "ta-lib"}
    assert installed <= locked | {"tradehouse", "pip"}
    for tool in ("pytest", "mypy", "setuptools"):
        assert f"No module named '{tool}'" in image.run("python", "-c", f"import {tool}").stderr

    start = image.entry
    uri = server.fresh_database("template1")
    (tmp_path / "uri").write_text(uri)
    warehouse = {"POSTGRESQL_URI_FILE": str(tmp_path / "uri"), "SQLITE_PATH": str(tmp_path / "sample.db")}
    assert image.run(*start, "--help", **warehouse).stdout.startswith("Usage: tradehouse ")
    assert image.run(*start, "demo-data", "sample.db", "--days", "3", **warehouse).returncode == 0
    sample = image.inside("sample.db")
    synced = image.run(*start, "sync", "--json", **warehouse | {"SQLITE_PATH": str(sample)})
    assert synced.returncode == 0, synced.stderr
    assert json.loads(synced.stdout)["success"] is True
    counted = image.run("python", "-c", COUNT, POSTGRESQL_URI=uri)
    assert int(counted.stdout) > 0, counted.stderr
