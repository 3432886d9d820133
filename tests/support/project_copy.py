"""A copy of the whole project with other lists, and its commands on a warehouse of the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.world import ROOT, World

PARTS = (
    "collector",
    "dbt_project",
    "deploy",
    "docs",
    "extract",
    "indicators",
    "macros",
    "serve",
    "sql",
    "tests",
    "tradehouse",
)
PAGES = ("README.md", "DECISIONS.md", "CHANGELOG.md")
FILES = ("profiles.yml.example", "pyproject.toml", ".sqlfluff", "Makefile", *PAGES)
COMMAND = "from tradehouse.main import main; main()"


class ProjectCopy:
    """The project at `root`; what is run there imports it, and not the one under test."""

    def __init__(self, root: Path, world: World) -> None:
        self.root = root
        self._world = world
        for part in PARTS:
            ignored = shutil.ignore_patterns("target", "logs", "__pycache__")
            shutil.copytree(ROOT / part, root / part, ignore=ignored)
        for file in FILES:
            shutil.copyfile(ROOT / file, root / file)

    def change(self, old: str, new: str) -> None:
        """Replace a text that occurs once in the lists."""
        config = self.root / "dbt_project" / "dbt_project.yml"
        text = config.read_text(encoding="utf-8")
        assert text.count(old) == 1, old
        config.write_text(text.replace(old, new), encoding="utf-8")

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python in the copy, with the world's settings."""
        scripts = Path(sys.executable).parent
        environment = {
            **{"PATH": f"{scripts}:{os.environ['PATH']}", "HOME": str(self.root), "PYTHONPATH": str(self.root)},
            **(self._world.environment | {"TRADEHOUSE_HOME": str(self.root / "home")}),
        }
        return subprocess.run(
            [sys.executable, *arguments],
            env=environment,
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run `tradehouse`, demand its exit code, and return all it printed."""
        done = self.python("-c", COMMAND, *arguments)
        printed = done.stdout + done.stderr
        assert done.returncode == code, printed
        assert "Traceback" not in printed, printed
        return printed

    def generate(self) -> None:
        """What `make models` does, and the check that it left nothing to do."""
        for arguments in ((), ("--check",)):
            done = self.python("dbt_project/generate_models.py", *arguments)
            assert done.returncode == 0, done.stderr
