"""A symbol, a timeframe and a column more, or fewer, are one line each, on a warehouse that was there before."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from extract.settings import load_project
from tests.support.collector import series
from tests.support.project_copy import ProjectCopy
from tests.support.trading import MONDAY
from tests.support.world import World

PROJECT = load_project()


@pytest.fixture
def copy(world: World, tmp_path: Path) -> ProjectCopy:
    """The project as it is, and a warehouse that it has filled."""
    world.collector.write("EURUSD", series(MONDAY, 13))
    world.sync_and_check()
    return ProjectCopy(tmp_path / "copy", world)


def take_sample(world: World, copy: ProjectCopy) -> None:
    """The source is what the copy's own `demo-data` writes from here on."""
    sample = world.directory / "sample.db"
    copy.run("demo-data", str(sample), "--days", "2", "--around-the-clock")
    world.settings["SQLITE_PATH"] = str(sample)


def require_unit_tests(copy: ProjectCopy) -> None:
    """Tests that read the lists hold for the copy's; the dialect of its models, too."""
    files = ("test_seed_data.py", "test_macros.py", "test_imports.py")
    tested = copy.python("-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"tests/unit/{name}" for name in files))
    assert tested.returncode == 0, tested.stdout
    first = json.loads(copy.python("-c", SHOW_FIRST).stdout)
    models = Path("dbt_project") / "models"
    linted = (models / "staging" / "mt5" / f"stg_mt5__{first}.sql", models / "marts" / "candles" / first)
    done = copy.python("-m", "sqlfluff", "lint", *map(str, linted), str(models / "marts" / "views"))
    assert done.returncode == 0, done.stdout


SHOW_FIRST = "import json; from extract.settings import load_project; print(json.dumps(load_project().symbols[0]))"


@pytest.mark.only_on("embedded")
def test_one_of_each_more(world: World, copy: ProjectCopy) -> None:
    copy.change("  symbols:\n", "  symbols:\n    - us500\n")
    copy.change("{M5: 5,", "{M1: 1, M5: 5,")
    copy.change("    - {name: zigzag,", '    - {name: vwap, kind: number, description: "VWAP."}\n    - {name: zigzag,')
    behind = "\n  # Those of market.candle_data"
    copy.change(behind, '\n    - {name: levels, kind: json, dynamic: true, description: "Levels."}' + behind)
    copy.generate()
    require_unit_tests(copy)
    take_sample(world, copy)
    assert "failed" not in copy.run("sync")

    symbols, timeframes = len(PROJECT.symbols) + 1, len(PROJECT.timeframes) + 1
    state = json.loads(copy.run("status", "--json"))
    assert state["ok"]
    assert len(state["tables"]) == symbols * timeframes
    assert {each["status"] for each in state["tables"]} == {"current"}
    bars = 2 * 288
    assert world.query("select count(*), count(vwap) from us500_m1") == [(bars, bars)]
    assert world.query("select count(*), sum((vwap = close)::int), count(levels) from staging.eurusd") == [
        (13 + bars, bars, 0)
    ]
    # what was there has the columns now, and is what it was
    assert world.query("select count(*), count(vwap) from eurusd_m5") == [(13 + bars, bars)]
    assert world.query("select count(*), count(vwap), count(levels) from candles where timestamp < '2025-02-01'") == [
        (13 + 13 + 5 + 3 + 2 + 1 + 1 + 1 + 1 + 1, 0, 0)
    ]
    tested = copy.run("sync", "--test")
    passed = re.search(r"(\d+) tests passed", tested)
    assert passed
    assert int(passed[1]) > 60

    # a value of the new column that comes to an old bar later, and is dynamic
    world.settings.pop("SQLITE_PATH")
    for column, kind in (("vwap", "real"), ("levels", "text")):
        for symbol in PROJECT.symbols:
            world.collector.execute(f'alter table "{symbol.upper()}" add column {column} {kind}')
    world.collector.create(["US500"])
    world.collector.execute("alter table US500 add column vwap real")
    world.collector.execute("alter table US500 add column levels text")
    world.collector.execute("update EURUSD set vwap = 1.5, levels = '[1]'")
    assert "13 bars landed" in copy.run("reconcile", "--symbol", "EURUSD")
    old = "select count(*), count(vwap), count(levels) from eurusd_m5 where timestamp < '2025-02-01'"
    assert world.query(old) == [(13, 13, 0)]


@pytest.mark.only_on("embedded")
def test_a_symbol_and_two_timeframes_fewer(world: World, copy: ProjectCopy) -> None:
    copy.change("    - eurusd\n", "")
    copy.change("H1: 60, ", "")
    copy.change("{M5: 5, ", "{")
    copy.generate()
    require_unit_tests(copy)
    take_sample(world, copy)
    assert "failed" not in copy.run("sync", "--test")
    state = json.loads(copy.run("status", "--json"))
    assert len(state["tables"]) == (len(PROJECT.symbols) - 1) * (len(PROJECT.timeframes) - 2)
    assert state["ok"]
    # what is listed no more is left as it is
    assert world.query("select count(*) from eurusd_m5") == [(13,)]
    assert world.query("select count(*) from gbpusd_m15") == [(2 * 96,)]
