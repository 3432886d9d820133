"""Every public macro has a file of its own, is documented with its arguments, and is what sqlfluff renders."""

from __future__ import annotations

import ast
import configparser
import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MACROS = ROOT / "macros"
BLOCK = re.compile(r"{%-?\s*(?P<kind>macro|test|materialization)\s+(?P<name>\w+)\s*(?P<rest>.*?)\s*-?%}", re.DOTALL)
COMMENT = re.compile(r"{#.*?#}", re.DOTALL)
ADAPTER = re.compile(r"adapter='(\w+)'")


@dataclass(frozen=True)
class MacroBlock:
    """One macro, test or materialization block of a macro file."""

    file: Path
    kind: str
    name: str
    arguments: tuple[str, ...]
    adapter: str = "default"

    @property
    def dbt_name(self) -> str:
        """The name dbt knows the block by, and under which it is documented."""
        if self.kind == "materialization":
            return f"materialization_{self.name}_{self.adapter}"
        return f"test_{self.name}" if self.kind == "test" else self.name


def parse(file: Path, text: str) -> list[MacroBlock]:
    """List the blocks a macro file defines, without those that are commented out."""
    return [_parse_block(file, found) for found in BLOCK.finditer(COMMENT.sub("", text))]


def _parse_block(file: Path, found: re.Match[str]) -> MacroBlock:
    kind, name, rest = found["kind"], found["name"], found["rest"]
    if kind == "materialization":
        adapter = ADAPTER.search(rest)
        return MacroBlock(file, kind, name, (), adapter[1] if adapter else "default")
    # The signature is Python's as well, and Python knows which comma is inside a default value.
    function = ast.parse(f"def {name}{rest}: ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    return MacroBlock(file, kind, name, tuple(argument.arg for argument in function.args.args))


FILES = sorted(MACROS.rglob("*.sql"))
PUBLIC = [
    block for file in FILES for block in parse(file, file.read_text(encoding="utf-8")) if not block.name.startswith("_")
]


def documented() -> list[dict[str, Any]]:
    return [
        entry
        for file in sorted(MACROS.rglob("*.yml"))
        for entry in yaml.safe_load(file.read_text(encoding="utf-8"))["macros"]
    ]


def relative(file: Path) -> str:
    return file.relative_to(MACROS).as_posix()


def test_blocks_are_recognised() -> None:
    text = """
    {# {% macro commented_out() %} #}
    {% macro plain(a, b='x, y', c=none) -%}{% endmacro %}
    {%- macro _helper() -%}{% endmacro %}
    {% test holds(model, column_name) %}{% endtest %}
    {% materialization incremental, adapter='postgres' %}{% endmaterialization %}
    """
    found = [(block.dbt_name, block.arguments) for block in parse(Path("any.sql"), text)]
    assert found == [
        ("plain", ("a", "b", "c")),
        ("_helper", ()),
        ("test_holds", ("model", "column_name")),
        ("materialization_incremental_postgres", ()),
    ]


@pytest.mark.parametrize("file", FILES, ids=relative)
def test_a_file_is_named_after_its_one_public_macro(file: Path) -> None:
    names = [block.name for block in PUBLIC if block.file == file]
    assert names == ([] if file.stem.startswith("_") else [file.stem])


def test_documented_macros_are_the_public_ones() -> None:
    assert sorted(entry["name"] for entry in documented()) == sorted(block.dbt_name for block in PUBLIC)


@pytest.mark.parametrize("block", PUBLIC, ids=lambda block: block.dbt_name)
def test_a_public_macro_is_documented_with_arguments_and_an_example(block: MacroBlock) -> None:
    entry = next((entry for entry in documented() if entry["name"] == block.dbt_name), None)
    assert entry is not None, f"{block.dbt_name} is not in macros/_macros.yml"
    assert "Example" in entry["description"]
    arguments = entry.get("arguments", [])
    assert tuple(argument["name"] for argument in arguments) == block.arguments
    incomplete = [each["name"] for each in arguments if not (each.get("type") and each.get("description"))]
    assert incomplete == []


def test_sqlfluff_renders_with_the_project_s_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    lint = configparser.ConfigParser(interpolation=None)
    lint.read(ROOT / ".sqlfluff", encoding="utf-8")
    library = lint["sqlfluff:templater:jinja"]["library_path"]
    monkeypatch.syspath_prepend(ROOT / library)
    generator = importlib.import_module("generate_models")
    project = yaml.safe_load((ROOT / "dbt_project" / "dbt_project.yml").read_text(encoding="utf-8"))["vars"]
    assert generator.lists() == project
    assert "generate_models.lists()" in lint["sqlfluff:templater:jinja:macros"]["var"]
