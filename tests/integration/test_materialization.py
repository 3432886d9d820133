"""What the upsert materialization refuses, and in which words; types it has to recognise again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.world import ROOT, World

CONTRACT = {"enforced": True}
KEY: dict[str, Any] = {"name": "id", "data_type": "int", "constraints": [{"type": "primary_key"}]}
VALUE: dict[str, Any] = {"name": "value", "data_type": "double precision"}
SQL = "select 1 as id, 2.5::double precision as value"

# name: (SQL, config changes, columns, what the error says)
REFUSED: dict[str, tuple[str, dict[str, Any], list[dict[str, Any]], str]] = {
    "other_strategy": (SQL, {"incremental_strategy": "append"}, [KEY, VALUE], "know 'upsert' only"),
    "no_contract": (SQL, {"contract": {"enforced": False}}, [KEY, VALUE], "needs `contract: {enforced: true}`"),
    "other_key": (SQL, {"unique_key": "value"}, [KEY, VALUE], "unique_key is ['value']"),
    "only_keys": ("select 1 as id", {}, [KEY], "needs a column beside the unique_key"),
    "unknown_constraint": (
        SQL,
        {},
        [KEY, VALUE | {"constraints": [{"type": "check", "expression": "value > 0"}]}],
        "a constraint of type 'check'; known are primary_key, not_null",
    ),
    "missing_column": ("select 1 as id", {}, [KEY, VALUE], "it returns no column value"),
    "other_type": ("select 1 as id, 2 as value", {}, [KEY, VALUE], "it returns value as integer, the contract says"),
    "surplus_column": (SQL + ", 3 as more", {}, [KEY, VALUE], "it returns column more, which the contract does not"),
    "null_in_not_null": (
        "select 1 as id, null::double precision as value",
        {},
        [KEY, VALUE | {"constraints": [{"type": "not_null"}]}],
        'column "value" of relation "null_in_not_null" contains null values',
    ),
}
TYPES = ["varchar(20)", "numeric(10,2)", "decimal(12, 4)", "timestamptz", "int8", "bool", "float4", "char(3)", "jsonb"]


@pytest.fixture
def project(world: World) -> Path:
    """A copy of the project with nothing in it but the macros, to be filled with models."""
    shutil.copytree(ROOT / "macros", world.directory / "macros")
    project = world.directory / "dbt_project"
    (project / "models").mkdir(parents=True)
    config = yaml.safe_load((ROOT / "dbt_project" / "dbt_project.yml").read_text())
    config["models"]["tradehouse"] = {
        "+materialized": "incremental",
        "+incremental_strategy": "upsert",
        "+unique_key": "id",
        "+on_schema_change": "append_new_columns",
        "+contract": CONTRACT,
    }
    (project / "dbt_project.yml").write_text(yaml.safe_dump(config))
    return project


def test_each_misuse_is_refused_with_a_reason(world: World, project: Path) -> None:
    models = []
    for name, (sql, config, columns, _) in REFUSED.items():
        (project / "models" / f"{name}.sql").write_text(sql)
        models.append({"name": name, "config": config, "columns": columns})
    (project / "models" / "models.yml").write_text(yaml.safe_dump({"models": models}))
    done = world.dbt("run", project=project)
    assert f"ERROR={len(REFUSED)} " in done.stdout, done.stdout
    for name, (_, _, _, reason) in REFUSED.items():
        failure = done.stdout.split(f"in model {name} (", 1)[1].split("[0m", 1)[0][:600]
        assert reason in failure, failure
    assert world.query("select to_regclass('public.other_type'), to_regclass('public.null_in_not_null')") == [
        (None, None)
    ]


def test_a_second_run_knows_its_own_types_again(world: World, project: Path) -> None:
    columns = [KEY] + [{"name": f"c{i}", "data_type": kind} for i, kind in enumerate(TYPES)]
    sql = "select 1 as id, " + ", ".join(f"null::{kind} as c{i}" for i, kind in enumerate(TYPES))
    (project / "models" / "typed.sql").write_text(sql)
    (project / "models" / "models.yml").write_text(yaml.safe_dump({"models": [{"name": "typed", "columns": columns}]}))
    for arguments in (["run"], ["run"], ["run", "--full-refresh"]):
        done = world.dbt(*arguments, project=project)
        assert done.returncode == 0, done.stdout
    world.execute("alter table typed drop constraint typed_pkey")
    done = world.dbt("run", project=project)
    assert "its primary key is (), the contract says (id)" in done.stdout
    assert world.dbt("run", "--full-refresh", project=project).returncode == 0
    assert world.dbt("run", project=project).returncode == 0


def test_an_impossible_row_cap_is_refused_before_it_empties_a_table(world: World) -> None:
    for cap in ("0", "many"):
        done = world.dbt("run", "--full-refresh", "--select", "eurusd_h1", MAX_ROWS_PER_TABLE=cap)
        assert done.returncode != 0
        assert f"MAX_ROWS_PER_TABLE is '{cap}'; it has to be a whole number from 1 on" in done.stdout
