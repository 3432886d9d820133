"""Every model has the tag of a source, by which runs find it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from extract.settings import DBT_PROJECT, ROOT, load_project
from tradehouse.registry import SOURCES


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Models and seeds as dbt lists them; no warehouse is needed."""
    directory = tmp_path_factory.mktemp("dbt")
    shutil.copyfile(ROOT / "profiles.yml.example", directory / "profiles.yml")
    done = subprocess.run(
        [
            *(Path(sys.executable).parent / "dbt", "--quiet", "ls", "--resource-types", "model", "seed"),
            *("--output", "json", "--output-keys", "name", "schema", "alias", "tags"),
            *("--profiles-dir", directory, "--target-path", directory / "target", "--log-path", directory),
        ],
        env={"PATH": os.environ["PATH"], "PGHOST": "-", "PGUSER": "-", "PGDATABASE": "-"},
        cwd=DBT_PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_model_has_the_tag_of_a_source(listed: list[dict[str, Any]]) -> None:
    assert len(listed) > len(load_project().candle_tables)
    assert not [model["name"] for model in listed if not set(model["tags"]) & set(SOURCES)]
