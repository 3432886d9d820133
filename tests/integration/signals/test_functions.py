"""Functions as dbt builds them: in plpgsql, left alone where nothing has changed, replaced where their result has."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tests.support.world import ROOT, World

VERSIONS = "select oid::int, xmin::text from pg_proc where pronamespace = 'signals'::regnamespace order by oid"


@pytest.fixture
def project(world: World) -> Path:
    """A copy of the project with nothing in it but the macros."""
    shutil.copytree(ROOT / "macros", world.directory / "macros")
    project = world.directory / "dbt_project"
    (project / "functions").mkdir(parents=True)
    config = yaml.safe_load((ROOT / "dbt_project" / "dbt_project.yml").read_text())
    del config["models"], config["seeds"]
    config["functions"] = {"+schema": "signals"}
    (project / "dbt_project.yml").write_text(yaml.safe_dump(config))
    return project


def build(world: World, project: Path, returns: str, body: str) -> None:
    """Build the function `doubled` of an integer."""
    function = {
        "name": "doubled",
        "description": "It's twice the value.",
        "config": {"volatility": "deterministic", "meta": {"language": "plpgsql"}},
        "arguments": [{"name": "value", "data_type": "integer"}],
        "returns": {"data_type": returns},
    }
    (project / "functions" / "functions.yml").write_text(yaml.safe_dump({"functions": [function]}))
    (project / "functions" / "doubled.sql").write_text(body)
    done = world.dbt("build", project=project)
    assert done.returncode == 0, done.stdout


@pytest.mark.only_on("embedded")
def test_a_function_is_made_again_only_where_its_text_changes(world: World, project: Path) -> None:
    def version() -> tuple[object, ...]:
        return world.query("select oid::int, xmin::text from pg_proc where proname = 'doubled'")[0]

    build(world, project, "integer", "begin return value + value; end")
    first = version()
    assert world.query("select signals.doubled(21), provolatile::text from pg_proc where proname = 'doubled'") == [
        (42, "i")
    ]
    build(world, project, "integer", "begin return value + value; end")
    assert version() == first

    # another text: replaced where it is, for what stands on it stays
    world.execute("create view public.answer as select signals.doubled(21)")
    build(world, project, "integer", "begin return value * 2; end")
    assert version()[0] == first[0]
    assert version() != first
    world.execute("drop view public.answer")

    # another result: Postgres would not replace it
    build(
        world,
        project,
        "table (twice bigint, thrice bigint)",
        "begin return query select value * 2::bigint, value * 3::bigint; end",
    )
    assert world.query("select twice, thrice from signals.doubled(21)") == [(42, 63)]


@pytest.mark.only_on("embedded")
def test_a_build_with_nothing_new_leaves_the_functions_as_they_are(world: World) -> None:
    before = world.query(VERSIONS)
    assert len(before) > 5
    done = world.dbt("build", "--select", "resource_type:function,tag:mt5")
    assert done.returncode == 0, done.stdout
    assert world.query(VERSIONS) == before
