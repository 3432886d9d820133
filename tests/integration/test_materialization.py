"""What the upsert materialization refuses, and in which words; types it has to recognise again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml

from tests.support.world import ROOT, World

CONTRACT = {"enforced": True}
KEY: dict[str, Any] = {"name": "id", "data_type": "int", "constraints": [{"type": "primary_key"}]}
VALUE: dict[str, Any] = {"name": "value", "data_type": "double precision"}
SQL = "select 1 as id, 2.5::double precision as value"

# name: (SQL, config changes, columns, what the error says)
REFUSED: dict[str, tuple[str, dict[str, Any], list[dict[str, Any]], str]] = {
    "no_contract": (SQL, {"contract": {"enforced": False}}, [KEY, VALUE], "needs `contract: {enforced: true}`"),
    "other_key": (SQL, {"unique_key": "value"}, [KEY, VALUE], "unique_key is ['value']"),
    "only_keys": ("select 1 as id", {}, [KEY], "needs a column to compare, beside the unique_key"),
    "unknown_kept": (SQL, {"meta": {"unchanged_columns": ["valve"]}}, [KEY, VALUE], "name 'valve'; possible are value"),
    "kept_key": (SQL, {"meta": {"insert_only_columns": ["id"]}}, [KEY, VALUE], "name 'id'; possible are value"),
    "beside_meta": (SQL, {"delete_when": "value is null"}, [KEY, VALUE], "delete_when belongs under meta"),
    "nothing_compared": (SQL, {"meta": {"unchanged_columns": ["value"]}}, [KEY, VALUE], "needs a column to compare"),
    "unknown_tombstone": (
        "select {{ tombstone({'idd': '1'}) }}",
        {},
        [KEY, VALUE],
        "keys names 'idd'; columns of the model are id, value",
    ),
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


@pytest.mark.only_on("embedded")
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


@pytest.mark.only_on("embedded")
def test_an_impossible_row_cap_is_refused_before_it_empties_a_table(world: World) -> None:
    for cap in ("0", "many", "-1", "1.5"):
        with pytest.raises(psycopg2.errors.CheckViolation):
            world.execute(
                f"insert into ops.settings values ('max_rows_per_table', '{cap}')"
                " on conflict (name) do update set value = excluded.value"
            )
    world.execute("delete from ops.settings")
    assert world.query("select ops.max_rows_per_table()") == [(10_000,)]


KEPT = """
select {% if is_incremental() %}id, value, made_at, seen_at{% else %}*{% endif %} from public.kept_input
{% if is_incremental() %}
union all
select {{ tombstone({'id': 'gone.id'}) }} from {{ this }} as gone
where not exists (select from public.kept_input where kept_input.id = gone.id)
{% endif %}
"""


@pytest.mark.only_on("embedded")
def test_some_columns_are_kept_and_some_are_no_change(world: World, project: Path) -> None:
    world.execute(
        "create table kept_input (id int, value double precision, made_at int, seen_at int);"
        "insert into kept_input values (1, 1, 10, 10), (2, 2, 10, 10), (3, 3, 10, 10)"
    )
    columns = [KEY, VALUE, {"name": "made_at", "data_type": "int"}, {"name": "seen_at", "data_type": "int"}]
    meta = {"insert_only_columns": ["made_at"], "unchanged_columns": ["seen_at"], "delete_when": "value is null"}
    (project / "models" / "kept.sql").write_text(KEPT)
    described = {"models": [{"name": "kept", "columns": columns, "config": {"meta": meta}}]}
    (project / "models" / "models.yml").write_text(yaml.safe_dump(described))

    def build(*arguments: str) -> list[tuple[int, float, int, int, str]]:
        done = world.dbt("run", *arguments, project=project)
        assert done.returncode == 0, done.stdout
        return world.query("select id, value, made_at, seen_at, xmin::text from kept order by id")

    first = build()
    world.execute("update kept_input set made_at = 20, seen_at = 20; update kept_input set value = 5 where id = 2")
    world.execute("delete from kept_input where id = 3")
    second = build()
    assert [row[:4] for row in second] == [(1, 1.0, 10, 10), (2, 5.0, 10, 20)]
    assert second[0] == first[0]
    world.execute("update kept_input set made_at = 30, seen_at = 30")
    assert build() == build("--full-refresh") == second
    world.execute("update kept_input set value = 6 where id = 1")
    third = build("--full-refresh")
    assert [row[:4] for row in third] == [(1, 6.0, 10, 30), (2, 5.0, 10, 20)]

    # a rebuild makes new rows of the same values
    world.execute("alter table kept drop constraint kept_pkey; update kept_input set seen_at = 40, made_at = 40")
    assert [row[:4] for row in build("--full-refresh")] == [row[:4] for row in third]
    world.execute("alter table kept alter value type text")
    rebuilt = build("--full-refresh")
    assert [row[:4] for row in rebuilt] == [(1, 6.0, 10, 40), (2, 5.0, 10, 40)]


def describe(project: Path, *models: dict[str, Any]) -> None:
    """Write the models' descriptions, each with the two columns if it names none."""
    described = [{"columns": [KEY, VALUE], **model} for model in models]
    (project / "models" / "models.yml").write_text(yaml.safe_dump({"models": described}))


def run(world: World, project: Path, *arguments: str) -> str:
    """Run the project's models; return what dbt printed."""
    done = world.dbt("run", *arguments, project=project)
    assert done.returncode == 0, done.stdout
    return done.stdout


def refresh(world: World, *models: str | None) -> list[tuple[Any, ...]]:
    """What `ops.refresh` says, committed."""
    with world.connection() as connection, connection.cursor() as cursor:
        cursor.execute("select * from ops.refresh(%s)", (list(models),))
        connection.commit()
        return list(cursor.fetchall())


@pytest.mark.only_on("embedded")
def test_other_strategies_are_dbts_own(world: World, project: Path) -> None:
    world.execute("create table arriving (id int, value double precision); insert into arriving values (1, 1), (2, 2)")
    for strategy in ("append", "delete+insert"):
        name = strategy.replace("+", "_")
        sql = "select * from public.arriving {% if is_incremental() %}where id > 1{% endif %}"
        (project / "models" / f"{name}.sql").write_text(sql)
    describe(
        project,
        {"name": "append", "config": {"incremental_strategy": "append", "contract": {"enforced": False}}},
        {"name": "delete_insert", "config": {"incremental_strategy": "delete+insert", "unique_key": "id"}},
    )
    run(world, project)
    world.execute("update arriving set value = 20 where id = 2")
    run(world, project)
    assert world.query("select * from append order by id, value") == [(1, 1.0), (2, 2.0), (2, 20.0)]
    assert world.query("select * from delete_insert order by id, value") == [(1, 1.0), (2, 20.0)]
    functions = "select to_regprocedure('refresh.append()'), to_regprocedure('refresh.delete_insert()')"
    assert world.query(functions) == [(None, None)]
    run(world, project, "--full-refresh")
    assert world.query("select * from append order by id, value") == [(1, 1.0), (2, 20.0)]


COUNTED = """
select id, value from public.arriving
{% if is_incremental() %}where value > 0 {% else %}where true{% endif %}
"""


def test_a_model_leaves_its_increment_as_a_function(world: World, project: Path) -> None:
    world.execute("create table arriving (id int, value double precision); insert into arriving values (1, 1), (2, 2)")
    for name in ("one", "two", "three"):
        (project / "models" / f"{name}.sql").write_text(COUNTED)
    settings = {"enable_nestloop": "off"}
    kept = {"meta": {"keep_newest_rows": "2 + 1"}, "pre_hook": "create table if not exists hooked (n int)"}
    describe(
        project,
        {"name": "one", "config": {"meta": {"refresh_settings": settings, "delete_when": "value = 7"}}},
        {"name": "two"},
        {"name": "three", "config": kept | {"post_hook": ["insert into hooked select 1", "select 'it''s'"]}},
    )
    run(world, project)
    configurations = "select proconfig from pg_proc where oid = to_regprocedure('refresh.one()')"
    assert world.query(configurations) == [(["jit=off", "enable_nestloop=off"],)]
    assert world.query("select count(*) from hooked") == [(1,)]

    # inserted, updated, deleted; a tombstone of nothing counts for nothing; the increment of the model, not its build
    world.execute("update arriving set value = 7 where id = 1; update arriving set value = 3 where id = 2")
    world.execute("insert into arriving values (3, 3), (4, 7), (5, 5), (6, -1)")
    one, missing, nothing, three = refresh(world, "one", "missing", None, "three")
    assert one == ("one", 4, None)
    assert missing == ("missing", None, "42883: function refresh.missing() does not exist")
    assert (nothing[:2], nothing[2][:7]) == ((None, None), "22004: ")
    assert three == ("three", 7, None)  # five rows changed, two pruned
    assert [row[1] for row in refresh(world, "one", "missing")] == [0, None]
    assert world.query("select * from one order by id") == [(2, 3.0), (3, 3.0), (5, 5.0)]
    assert world.query("select id from three order by id") == [(3,), (4,), (5,)]
    assert world.query("select count(*) from hooked") == [(2,)]
    assert world.query("select id from two order by id") == [(1,), (2,)]

    # a table that is gone fails alone, and what the others did stays
    world.execute("drop table one; update arriving set value = 9 where id = 3")
    one, two = refresh(world, "one", "two")
    assert (one[:2], one[2][:7]) == (("one", None), "42P01: ")
    assert two == ("two", 5, None)
    assert world.query("select id from two order by id") == [(1,), (2,), (3,), (4,), (5,)]

    # the same text is not written again, another one is
    version = "select proname, xmin::text from pg_proc where pronamespace = 'refresh'::regnamespace order by 1"
    before = dict(world.query(version))
    run(world, project)
    assert dict(world.query(version)) == before
    (project / "models" / "two.sql").write_text(COUNTED.replace("value > 0", "value > 1"))
    run(world, project)
    assert {name for name, xmin in world.query(version) if before[name] != xmin} == {"two"}


@pytest.mark.only_on("embedded")
def test_refreshes_of_the_same_tables_take_turns(world: World, project: Path) -> None:
    world.execute("create table arriving (id int, value double precision)")
    for name in ("one", "two"):
        (project / "models" / f"{name}.sql").write_text(COUNTED)
    describe(project, {"name": "one"}, {"name": "two"})
    run(world, project)
    with world.connection() as first, first.cursor() as cursor, world.connection() as second:
        cursor.execute("select * from ops.refresh(array['one', 'two'])")
        with second.cursor() as other:
            other.execute("set lock_timeout = '100ms'")
            second.commit()
            with pytest.raises(psycopg2.errors.LockNotAvailable):
                other.execute("select * from ops.refresh(array['two', 'one'])")
            second.rollback()
            first.commit()
            other.execute("select * from ops.refresh(array['two', 'one'])")
            assert other.fetchall() == [("two", 0, None), ("one", 0, None)]


@pytest.mark.only_on("embedded")
def test_an_empty_build_leaves_tables_and_functions_as_they_are(world: World, project: Path) -> None:
    world.execute("create table arriving (id int, value double precision); insert into arriving values (1, 1)")
    (project / "models" / "base.sql").write_text("select * from public.arriving")
    (project / "models" / "one.sql").write_text("select id, value from {{ ref('base') }}")
    view = {"materialized": "view", "contract": {"enforced": False}}
    describe(project, {"name": "base", "config": view}, {"name": "one"})
    run(world, project, "--empty")
    assert world.query("select count(*), to_regprocedure('refresh.one()') from one") == [(0, None)]
    run(world, project)
    run(world, project, "--empty")
    world.execute("insert into arriving values (2, 2)")
    assert refresh(world, "one") == [("one", 1, None)]
    assert world.query("select count(*) from one") == [(2,)]
