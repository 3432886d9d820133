"""Every model has the tag of a source, by which runs find it."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

import pytest

from extract.settings import DBT_PROJECT, ROOT, load_project
from tests.support.world import DATABASE, run_program
from tradehouse.registry import SOURCES


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Models and seeds as dbt lists them; no warehouse is needed."""
    directory = tmp_path_factory.mktemp("dbt")
    shutil.copyfile(ROOT / "profiles.yml.example", directory / "profiles.yml")
    # the database's name is that of other tests, which share this parse
    done = run_program(
        *("dbt", "--quiet", "ls", "--resource-types", "model", "seed"),
        *("--output", "json", "--output-keys", "name", "schema", "alias", "tags"),
        environment={
            **{"PATH": os.environ["PATH"], "PGHOST": "-", "PGUSER": "-", "PGDATABASE": DATABASE},
            **{"DBT_PROJECT_DIR": str(DBT_PROJECT), "DBT_PROFILES_DIR": str(directory)},
            **{"DBT_TARGET_PATH": str(directory / "target"), "DBT_LOG_PATH": str(directory)},
        },
        cwd=DBT_PROJECT,
        parsed=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_model_has_the_tag_of_a_source(listed: list[dict[str, Any]]) -> None:
    assert len(listed) > len(load_project().candle_tables)
    assert not [model["name"] for model in listed if not set(model["tags"]) & set(SOURCES)]
