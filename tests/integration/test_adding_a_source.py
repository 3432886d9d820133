"""docs/adding-a-source.md, followed to the letter in a copy of the project: the source it adds works."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Server
from tests.support.collector import Collector
from tests.support.project_copy import ProjectCopy
from tests.support.world import ROOT, World

PAGE = ROOT / "docs" / "adding-a-source.md"
WHOLE_FILE = re.compile(r"^`([^`\n]+)`\n\n(`{3,})\w*\n(.*?)^\2\n", re.MULTILINE | re.DOTALL)
ONE_LINE = re.compile(
    r"In `([^`]+)`,\s+below\s+the\s+line\s+that\s+begins\s+with\s+`([^`]+)`:\n\n```\w*\n([^\n]+\n)```", re.DOTALL
)
TESTS = ("prices", "docs", "imports")
HEADER = "symbol,timestamp,price\n"

pytestmark = pytest.mark.only_on("embedded")


@pytest.fixture
def empty_world(server: Server, tmp_path: Path) -> Iterator[World]:
    """An empty database; the candles' file is there and of no interest."""
    with Collector(tmp_path / "trading_data.db") as collector:
        yield World(tmp_path, tmp_path / "home", server.fresh_database("template1"), collector)


@pytest.fixture
def project(empty_world: World, tmp_path: Path) -> ProjectCopy:
    """A copy of the project to which the page's source has been added."""
    copy = ProjectCopy(tmp_path / "project", empty_world)
    page = PAGE.read_text(encoding="utf-8")
    files, lines = WHOLE_FILE.findall(page), ONE_LINE.findall(page)
    assert [path for path, _, _ in files if "prices" not in path] == []
    assert [path for path, _, _ in lines] == [
        "tradehouse/registry.py",
        "dbt_project/dbt_project.yml",
        "dbt_project/dbt_project.yml",
        "README.md",
    ]
    for path, _, text in files:
        target = copy.root / path
        assert not target.exists()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    for path, beginning, line in lines:
        target = copy.root / path
        text = target.read_text(encoding="utf-8")
        [anchor] = [each for each in text.splitlines(keepends=True) if each.startswith(beginning)]
        target.write_text(text.replace(anchor, anchor + line), encoding="utf-8")
    return copy


def test_the_page_makes_a_source_that_works(empty_world: World, project: ProjectCopy) -> None:
    world = empty_world
    file = world.directory / "prices.csv"
    world.settings["PRICES_PATH"] = str(file)

    def prices(*arguments: str, code: int = 0) -> str:
        return project.run("prices", *arguments, code=code)

    def table() -> list[tuple[str, str, str]]:
        return world.query(
            "select symbol, to_char(timestamp at time zone 'UTC', 'HH24:MI'), price::text from market.prices"
            " order by 1, 2"
        )

    def open_rejects() -> list[tuple[str, str]]:
        return world.query(
            "select column_name, original from ops.rejected_rows where source = 'prices' and resolved_at is null"
            " order by 1, 2"
        )

    file.write_text(HEADER + "EURUSD,2025-01-06 09:00,1.0305\nEURUSD,2025-01-06 10:00,1.0312\n", encoding="utf-8")
    assert "can be read: 2 prices, 0 rejects" in prices("test")
    assert "2 prices read, 2 changed, 0 rejected" in prices("sync")
    assert table() == [("EURUSD", "09:00", "1.0305"), ("EURUSD", "10:00", "1.0312")]

    versions = "select symbol, timestamp, xmin::text from market.prices order by 1, 2"
    before = world.query(versions)
    assert "2 prices read, 0 changed, 0 rejected; 0 models built" in prices("sync")
    assert world.query(versions) == before

    # a price that turns bad leaves, one that is new comes; a line without a time is a reject alone
    file.write_text(
        HEADER + "EURUSD,2025-01-06 10:00,n/a\nEURUSD,soon,1\nUSDJPY,2025-01-06T10:00:00Z,157.5\n", encoding="utf-8"
    )
    assert "2 prices read, 2 changed, 2 rejected" in prices("sync")
    assert table() == [("EURUSD", "09:00", "1.0305"), ("USDJPY", "10:00", "157.5")]
    assert open_rejects() == [("price", "n/a"), ("timestamp", "soon")]

    file.write_text(HEADER + "EURUSD,2025-01-06 10:00,1.0320\n", encoding="utf-8")
    assert "1 changed, 0 rejected" in prices("sync")
    assert ("EURUSD", "10:00", "1.0320") in table()
    assert open_rejects() == []

    printed = prices("sync", "--test")
    assert "1 tests passed" in printed
    rows = table()
    done = world.dbt("build", "--full-refresh", "--select", "tag:prices", project=project.root / "dbt_project")
    assert done.returncode == 0, done.stdout
    assert table() == rows

    file.unlink()
    assert f"error: {file} cannot be read: No such file or directory" in prices("sync", code=2)


def test_the_page_satisfies_the_project_s_own_rules(project: ProjectCopy) -> None:
    ours = [str(path) for path in project.root.rglob("*prices*.py")]
    folders = [str(path) for path in project.root.rglob("prices") if "dbt_project" in path.parts]
    assert len(folders) == 2
    for arguments in (
        ["docs/generate_settings.py"],
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"tests/unit/test_{it}.py" for it in TESTS)],
        ["-m", "ruff", "check", *ours],
        ["-m", "ruff", "format", "--check", *ours],
        ["-m", "sqlfluff", "lint", "--disable-progress-bar", *folders, "sql/staging/prices.sql"],
    ):
        done = project.python(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "| `PRICES_PATH` |" in (project.root / "docs" / "settings.md").read_text(encoding="utf-8")
