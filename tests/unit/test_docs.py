"""What the pages say of the tree is so: links, commands, settings, sources, length and words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from extract.errors import SourceError
from tradehouse.main import main
from tradehouse.registry import SOURCES, settings_classes
from tradehouse.source_commands import source_group

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [
    README,
    ROOT / "DECISIONS.md",
    ROOT / "CHANGELOG.md",
    *DOCS,
    *sorted((ROOT / "deploy").glob("*.md")),
    ROOT / "dbt_project" / "models" / "overview.md",
]
LONGEST_README = 130  # lines
FENCED = re.compile(r"^(`{3,})[^\n]*\n.*?^\1`*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
# one word per idea: what the project calls a run, a reject, an increment
WORDS_OF_OLD = re.compile(r"\b(cycles?|set aside|unusable|unread(?!`)|uninterpreted|replay\w*)\b", re.IGNORECASE)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> list[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#{1,6} (.+)$", prose(page), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


def commands(group: click.Group = main, path: tuple[str, ...] = ("tradehouse",)) -> Iterator[str]:
    """Every command and group, as one types it."""
    for key, command in group.commands.items():
        yield " ".join([*path, key])
        if isinstance(command, click.Group):
            yield from commands(command, (*path, key))


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= LONGEST_README


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    lost = []
    for link in LINK.findall(prose(page)):
        place, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", place) or anchor.startswith("!"):  # elsewhere, or a page of dbt's documentation
            continue
        target = (page.parent / place).resolve() if place else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert not lost


def test_decisions_list_every_entry_once() -> None:
    page = ROOT / "DECISIONS.md"
    listed = re.findall(r"^ *- \[.+\]\(#(.+)\)$", prose(page), re.MULTILINE)
    headings = [each for each in anchors(page) if each not in {"decisions", "contents"}]
    assert len(headings) > 50
    assert listed == headings
    assert len(set(headings)) == len(headings)


def test_every_command_is_in_the_readme_or_the_docs() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in [README, *DOCS])
    found = list(commands())
    assert "tradehouse bybit backfill" in found
    assert not [command for command in found if not re.search(rf"{re.escape(command)}(?![\w-])", text)]


def test_every_setting_is_in_the_page_of_settings() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    settings = [setting.upper() for kind in settings_classes() for setting in kind.model_fields]
    assert {"SQLITE_PATH", "BYBIT_API_KEY", "MT5_SERVICE_URL"} <= set(settings)
    assert not [setting for setting in settings if not re.search(rf"^\| `{setting}` (\||or )", page, re.M)]


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_has_a_page_and_a_row_in_the_readme(source: str) -> None:
    assert (ROOT / "docs" / f"{source}.md").is_file()
    assert f"\n| [{source}](docs/{source}.md) |" in README.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_pages_use_one_word_for_one_idea(page: Path) -> None:
    assert WORDS_OF_OLD.findall(prose(page)) == []


def test_a_source_without_commands_of_its_own_gets_test_sync_and_run(monkeypatch: pytest.MonkeyPatch) -> None:
    group = source_group("mt5")
    assert list(group.commands) == ["test", "sync", "run"]
    for kind, command in group.commands.items():
        assert command.help
        assert f"Example: tradehouse mt5 {kind}" in command.help
    monkeypatch.setenv("SQLITE_PATH", "/nowhere.db")
    done = CliRunner().invoke(group, ["test"])
    assert isinstance(done.exception, SourceError)
    assert "there is no file /nowhere.db" in str(done.exception)
