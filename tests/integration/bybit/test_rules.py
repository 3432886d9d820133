"""A rule of the trades that is not in a model: where it changes, so do the trades."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.bybit_items import days_ago, execution
from tests.support.bybit_world import BybitWorld
from tests.support.world import ROOT

BOT = "shortseller_001"
BOOK = Path("dbt_project/functions/bybit/bybit_book.sql")
SEED = Path("dbt_project/seeds/bots.csv")
PARTS = ("collector", "dbt_project", "extract", "macros", "serve", "sql", "tradehouse")

pytestmark = pytest.mark.only_on("embedded")


@pytest.fixture
def other_project(tmp_path: Path) -> Path:
    """A copy of the project in which bots are called by their names in capitals, and one's reasons are listed."""
    copy = tmp_path / "other"
    for part in PARTS:
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__", "target", "logs"))
    shutil.copy(ROOT / "profiles.yml.example", copy)
    rule = (copy / BOOK).read_text(encoding="utf-8")
    assert rule.count("outcome.bot_id := linked_bot;") == 1
    (copy / BOOK).write_text(
        rule.replace("outcome.bot_id := linked_bot;", "outcome.bot_id := upper(linked_bot);"), encoding="utf-8"
    )
    seed = (copy / SEED).read_text(encoding="utf-8")
    assert seed.count(f"{BOT},Short Seller,short,active,live,\n") == 1
    (copy / SEED).write_text(seed.replace("short,active,live,\n", "short,active,live,exit tp\n"), encoding="utf-8")
    return copy


def bots(world: BybitWorld) -> list[tuple[str, str, str]]:
    return world.query("select bot_id, exit_order_id, exit_reason from trading.completed_trades order by exit_order_id")


def version(world: BybitWorld) -> list[tuple[str, str]]:
    return world.query("select proname, xmin::text from pg_proc where proname like 'bybit_book%' order by proname")


def test_a_changed_rule_of_who_holds_what_restates_the_trades(bybit_world: BybitWorld, other_project: Path) -> None:
    world = bybit_world
    world.settings["TRADEHOUSE_HOME"] = str(world.directory / "home")
    world.fake.add(
        [
            execution("in", days_ago(2), side="Buy", orderLinkId=f"{BOT}-entry"),
            execution("out", days_ago(1), side="Sell", orderLinkId=f"{BOT}-exit-42"),
        ]
    )
    world.backfill()
    assert bots(world) == [(BOT, "order-out", "exit-42")]
    made = version(world)
    assert [name for name, _ in made] == ["bybit_book", "bybit_book_next"]

    world.bybit("sync")
    done = world.dbt("build", "--select", "tag:bybit")
    assert done.returncode == 0, done.stdout
    assert version(world) == made, "the rule has not changed and was made anew"

    world.settings["PYTHONPATH"] = str(other_project)
    world.bybit("sync")
    assert bots(world) == [(BOT.upper(), "order-out", "exit")]

    del world.settings["PYTHONPATH"]
    rebuild = ("build", "--select", "tag:bybit", "--full-refresh", "--exclude-resource-type", "unit_test")
    for project, name in ((ROOT, BOT), (other_project, BOT.upper())):
        done = world.dbt(*rebuild, project=project / "dbt_project")
        assert done.returncode == 0, done.stdout
        assert bots(world) == [(name, "order-out", "exit")]  # what the seed leaves out stays in the table
