"""dbt as people use it: views replaced in place, targets of one's own, packages, its other commands."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Server
from tests.support.collector import Collector, series
from tests.support.world import ROOT, World

MONDAY = 1_736_121_600  # 2025-01-06 00:00 UTC


@pytest.fixture
def bare(server: Server, tmp_path: Path) -> Iterator[World]:
    """A database with nothing in it."""
    with Collector(tmp_path / "trading_data.db") as collector:
        home = server.directory / "home_bare"
        yield World(tmp_path, home, server.fresh_database("template1"), collector)


@pytest.fixture
def project(bare: World) -> Path:
    """A copy of the project with nothing in it but the macros, to be filled with views."""
    shutil.copytree(ROOT / "macros", bare.directory / "macros")
    project = bare.directory / "dbt_project"
    project.mkdir()
    config = yaml.safe_load((ROOT / "dbt_project" / "dbt_project.yml").read_text())
    config["models"] = {"+materialized": "view", "+persist_docs": {"relation": True, "columns": True}}
    del config["seeds"]
    (project / "dbt_project.yml").write_text(yaml.safe_dump(config))
    return project


def write_views(project: Path, **views: str) -> None:
    (project / "models").mkdir(parents=True, exist_ok=True)
    for name, sql in views.items():
        (project / "models" / f"{name}.sql").write_text(sql)


def build(world: World, project: Path, *arguments: str, code: int = 0, **variables: str) -> str:
    done = world.dbt("run", *arguments, project=project, **variables)
    assert done.returncode == code, done.stdout
    return done.stdout


def oids(world: World, *names: str) -> list[int | None]:
    return [world.query("select to_regclass(%s)::oid::int", name)[0][0] for name in names]


@pytest.mark.only_on("embedded")
def test_a_view_is_replaced_in_place_and_what_stands_on_it_stays(bare: World, project: Path) -> None:
    write_views(project, base="select 1 as a, 'x'::text as b", top="select a from {{ ref('base') }}")
    build(bare, project)
    bare.execute(
        "drop role if exists view_reader; create role view_reader;"
        "create schema people; create view people.mine with (security_barrier) as select b, a from base;"
        "grant select on people.mine to view_reader with grant option; grant select (a) on base to public;"
        "grant select on base to view_reader; comment on view people.mine is 'it''s mine';"
        "comment on column people.mine.b is 'my b';"
        "create materialized view people.kept as select sum(a) as a from people.mine;"
        "create unique index kept_a on people.kept (a)"
    )
    relations = ("base", "top", "people.mine", "people.kept")
    before = oids(bare, *relations)

    # the same definition: nothing is touched
    rows = "select xmin::text from pg_class where oid = any(%s) union all select xmin::text from pg_rewrite"
    rows += " where ev_class = any(%s)"
    unchanged = bare.query(rows, before, before)
    build(bare, project)
    assert (oids(bare, *relations), bare.query(rows, before, before)) == (before, unchanged)

    # another rule and a further column: replaced where it is
    write_views(project, base="select 2 as a, 'y'::text as b, now() as c")
    build(bare, project, "--select", "base")
    assert oids(bare, *relations) == before
    assert bare.query("select b, a from people.mine") == [("y", 2)]

    # a column of another type and one fewer: made again, and all that stands on it with it
    write_views(project, base="select 'z'::text as b, 3::bigint as a")
    build(bare, project, "--select", "base")
    after = oids(bare, *relations)
    assert None not in after
    assert not set(after) & set(before)
    assert bare.query("select b, a from people.mine") == [("z", 3)]
    assert bare.query("select a from top union all select a from people.kept") == [(3,), (3,)]
    assert bare.query(
        "select relacl::text like '%view_reader=r*/%', reloptions::text, obj_description(oid),"
        " col_description(oid, 1) from pg_class where oid = 'people.mine'::regclass"
    ) == [(True, "{security_barrier=true}", "it's mine", "my b")]
    assert bare.query("select has_table_privilege('view_reader', 'base', 'select'), to_regclass('people.kept_a')") == [
        (True, "people.kept_a")
    ]
    assert bare.query("select attacl::text from pg_attribute where attrelid = 'base'::regclass and attname = 'a'") == [
        ("{=r/postgres}",)
    ]


@pytest.mark.only_on("embedded")
def test_a_view_of_somebody_that_no_longer_fits_stops_the_build_and_stays(bare: World, project: Path) -> None:
    write_views(project, base="select 1 as a, 2 as b", top="select a, b from {{ ref('base') }}")
    build(bare, project)
    bare.execute("create view mine as select b from base")
    before = oids(bare, "base", "top", "mine")
    write_views(project, base="select 1 as a", top="select a from {{ ref('base') }}")
    printed = build(bare, project, code=1)
    assert re.search(r'public.mine cannot be made again on the new shape: column "?(base.)?b"? does not exist', printed)
    assert oids(bare, "base", "top", "mine") == before
    assert bare.query("select b from mine") == [(2,)]

    # a model of the project that no longer fits has a build of its own
    bare.execute("drop view mine")
    printed = build(bare, project, "--select", "base")
    assert "missing until dbt builds them: public.top (column" in " ".join(printed.split())
    assert oids(bare, "top") == [None]
    build(bare, project)
    assert bare.query("select * from top") == [(1,)]


@pytest.mark.only_on("embedded")
def test_what_cannot_be_made_again_is_not_dropped(bare: World, project: Path) -> None:
    write_views(project, base="select 1 as a")
    build(bare, project)
    bare.execute("create function of_base() returns setof base language sql as 'select * from base'")
    write_views(project, base="select 'x'::text as a")
    assert "function of_base() depends on type base" in build(bare, project, code=1)
    assert bare.query("select a from of_base()") == [(1,)]


@pytest.mark.only_on("embedded")
def test_a_table_gives_way_to_a_view_of_its_name(bare: World, project: Path) -> None:
    write_views(project, base="{{ config(materialized='table') }} select 1 as a", top="select a from {{ ref('base') }}")
    build(bare, project)
    write_views(project, base="select 5 as a")
    build(bare, project, "--select", "base")
    assert bare.query("select relkind::text from pg_class where oid = 'base'::regclass") == [("v",)]
    assert bare.query("select a from top") == [(5,)]


@pytest.mark.only_on("embedded")
def test_two_runs_of_one_view_take_turns(bare: World, project: Path) -> None:
    views: dict[str, Any] = {f"v{n}": f"select {n} as a" for n in range(12)}
    write_views(project, **views)
    build(bare, project)
    write_views(project, **{name: sql.replace("select", "select 'text' as first,") for name, sql in views.items()})
    with ThreadPoolExecutor(2) as both:
        targets = [str(bare.directory / f"target_{n}") for n in range(2)]
        list(both.map(lambda target: build(bare, project, DBT_TARGET_PATH=target), targets))
    assert bare.query("select first, a from v11") == [("text", 11)]


# --- beside the service, and in a target of one's own ------------------------------------------


@pytest.mark.only_on("embedded")
def test_bars_between_landing_and_tables_fail_no_test_as_long_as_the_run_is_at_work(world: World) -> None:
    world.collector.load_many("EURUSD", series(MONDAY, 30))
    world.sync()
    check = ("test", "--select", "candles_match_bars_stg_mt5__eurusd_eurusd")
    columns = "open, high, low, close, fractals, tema, hrma, smma"
    world.execute(
        "insert into ops.sync_runs (source, command, status, started_at) values ('mt5', 'run', 'running', now());"
        # a new bar, a revised one, and the newest one spoilt
        f"insert into staging.eurusd (timestamp, {columns}, extracted_at)"
        f" select timestamp + 300, {columns}, clock_timestamp() from staging.eurusd order by timestamp desc limit 1;"
        "update staging.eurusd set close = close + 1, high = high + 1, extracted_at = clock_timestamp()"
        f" where timestamp = {MONDAY};"
        "update staging.eurusd set open = null, extracted_at = clock_timestamp()"
        f" where timestamp = {MONDAY + 29 * 300}"
    )
    beside = world.dbt(*check)
    assert beside.returncode == 0, beside.stdout

    # what the run has built is held against its bars at once
    world.execute(f"update eurusd_m15 set synced_at = clock_timestamp() where timestamp = to_timestamp({MONDAY})")
    assert world.dbt(*check).returncode == 1

    # and once it has ended, all of it
    world.execute("update eurusd_m15 set synced_at = (select min(synced_at) from eurusd_m5)")
    assert world.dbt(*check).returncode == 0
    world.execute("update ops.sync_runs set status = 'done', finished_at = now() where finished_at is null")
    assert world.dbt(*check).returncode == 1
    rebuilt = world.dbt("run", "--full-refresh", "--select", "path:models/marts/candles/eurusd")
    assert rebuilt.returncode == 0, rebuilt.stdout
    assert world.dbt(*check).returncode == 0


def dev_profile(world: World, **changes: str) -> dict[str, str]:
    """The variables for plain dbt with a profile of one's own, target `dev` in schema `ada`."""
    profile = yaml.safe_load((ROOT / "profiles.yml.example").read_text())
    outputs = profile["tradehouse"]["outputs"]
    outputs["dev"] = outputs["warehouse"] | {"schema": "ada"} | changes
    profile["tradehouse"]["target"] = "dev"
    directory = world.directory / "profile"
    directory.mkdir(exist_ok=True)
    (directory / "profiles.yml").write_text(yaml.safe_dump(profile))
    return {"DBT_PROFILES_DIR": str(directory), "DBT_TARGET_PATH": str(world.directory / "target")}


@pytest.mark.only_on("embedded")
def test_a_target_of_ones_own_touches_nothing_of_production(world: World) -> None:
    world.collector.load_many("EURUSD", series(MONDAY, 30))
    world.sync()
    relations = (
        "select relnamespace::regnamespace::text, relname, oid, xmin::text from pg_class"
        " where relnamespace::regnamespace::text not like all ('{ada%,pg\\_%,information_schema}') order by 1, 2"
    )
    candles = "select count(*), sum(open) from candles"
    before, values = world.query(relations), world.query(candles)

    # a macro tried out: every price doubled
    shutil.copytree(ROOT / "macros", world.directory / "macros")
    project = shutil.copytree(ROOT / "dbt_project", world.directory / "dbt_project")
    macro = world.directory / "macros" / "staging" / "mt5_bars.sql"
    prices = "    {% else %}\n    {{ column.name }},\n"
    assert prices in macro.read_text()
    doubled = prices.replace("{{ column.name }}", "2 * {{ column.name }} as {{ column.name }}")
    macro.write_text(macro.read_text().replace(prices, doubled))
    chosen = ("stg_mt5__eurusd", "eurusd_h1", "market_hours", "source_health")
    done = world.dbt("run", "--select", *chosen, project=project, **dev_profile(world))
    assert done.returncode == 0, done.stdout
    assert world.query(relations) == before
    assert world.query(candles) == values
    assert world.query(
        "select schemaname || '.' || viewname from pg_views where schemaname like 'ada%' order by 1"
    ) == [("ada_ops.market_hours",), ("ada_ops.source_health",), ("ada_staging.stg_mt5__eurusd",)]
    assert world.query("select timestamp, open from ada.eurusd_h1 order by 1") == world.query(
        "select timestamp, 2 * open from eurusd_h1 order by 1"
    )

    refused = world.dbt(
        "run", "--select", "market_hours", project=ROOT / "dbt_project", **dev_profile(world, schema="public")
    )
    assert refused.returncode != 0
    assert "target 'dev' has schema 'public', which is production's" in " ".join(refused.stdout.split())
    assert world.query(relations) == before


@pytest.mark.only_on("embedded")
def test_packages_and_the_other_commands_of_dbt_work(bare: World, project: Path) -> None:
    package = bare.directory / "package"
    write_views(
        package,
        pack_view="select 1 as a",
        pack_table="{{ config(materialized='table') }} select a from {{ ref('pack_view') }}",
        pack_kept="{{ config(materialized='materialized_view') }} select a from {{ ref('pack_view') }}",
    )
    (package / "dbt_project.yml").write_text(
        yaml.safe_dump({"name": "pack", "version": "1.0.0", "models": {"pack": {"+schema": "pack"}}})
    )
    (project / "packages.yml").write_text(yaml.safe_dump({"packages": [{"local": "../package"}]}))
    write_views(project, base="select a from {{ ref('pack_table') }}")
    variables = dev_profile(bare)

    def dbt(*arguments: str, code: int = 0) -> str:
        done = bare.dbt(*arguments, project=project, **variables)
        assert done.returncode == code, done.stdout
        return done.stdout

    assert "Installed from <local @ ../package>" in dbt("deps")
    dbt("build")
    assert bare.query("select a from ada_pack.pack_kept union all select a from ada.base") == [(1,), (1,)]
    assert dbt("--quiet", "compile", "--inline", "{{ ref('base') }}").strip().endswith('"ada"."base"')
    shown = dbt("--quiet", "show", "--select", "base", "--output", "json")
    assert json.loads(shown)["show"] == [{"a": 1}]

    # retry: what failed, and what was skipped for it
    write_views(package, pack_view="select no_such_column as a")
    dbt("run", code=1)
    write_views(package, pack_view="select 2 as a")
    assert "PASS=4" in dbt("retry")
    assert bare.query("select a from ada.base") == [(2,)]

    # clone: in another schema, views on what this one holds
    state = str(bare.directory / "state")
    dbt("compile", "--target-path", state)
    cloned = bare.dbt("clone", "--state", state, project=project, **dev_profile(bare, schema="bob"))
    assert cloned.returncode == 0, cloned.stdout
    assert bare.query("select relkind::text from pg_class where oid = 'bob_pack.pack_table'::regclass") == [("v",)]
    assert bare.query("select a from bob.base") == [(2,)]
