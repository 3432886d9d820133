"""Who may import whom: the rooms of docs/architecture.md, read from the source files."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("tradehouse", "extract", "serve", "collector", "indicators")
SERVE_MAY = {f"extract.{name}" for name in ("settings", "warehouse", "errors", "quoting", "duckdb_session")}
STANDARD_LIBRARY = sys.stdlib_module_names


def imports(room: str) -> Iterator[tuple[str, str]]:
    """Pairs of importing and imported module, at any depth of the importing file."""
    for file in sorted((ROOT / room).rglob("*.py")):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((module, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield from ((module, name) for name in _imported(node.module, [alias.name for alias in node.names]))


def _imported(package: str, names: list[str]) -> list[str]:
    """`from package import name` imports the module `package.name`, where there is one, else `package`."""
    folder = ROOT.joinpath(*package.split("."))
    return [
        f"{package}.{name}" if (folder / f"{name}.py").exists() or (folder / name).is_dir() else package
        for name in names
    ]


def ours(name: str) -> bool:
    return name.split(".")[0] in ROOMS


def test_nothing_imports_the_command() -> None:
    found = [(by, of) for room in ROOMS if room != "tradehouse" for by, of in imports(room)]
    assert found
    assert not [pair for pair in found if pair[1].split(".")[0] == "tradehouse"]


def test_the_read_side_imports_no_source_no_dbt_and_no_landing() -> None:
    found = [(by, of) for by, of in imports("serve") if ours(of) and not of.startswith("serve")]
    assert found
    assert not [pair for pair in found if pair[1] not in SERVE_MAY]


def test_sources_never_import_each_other() -> None:
    found = [(by, of) for by, of in imports("extract/sources") if of.startswith("extract.sources.")]
    assert found
    assert not [(by, of) for by, of in found if by.split(".")[2] != of.split(".")[2]]


def test_the_write_side_imports_neither_the_read_side_nor_the_collector() -> None:
    assert not [(by, of) for by, of in imports("extract") if of.split(".")[0] in {"serve", "collector", "tradehouse"}]


def test_the_indicators_import_no_source_and_not_the_read_side() -> None:
    found = [(by, of) for by, of in imports("indicators") if ours(of) and not of.startswith("indicators")]
    assert found
    assert not [pair for pair in found if not pair[1].startswith("extract.") or pair[1].startswith("extract.sources")]


def test_the_computation_knows_neither_database_nor_files() -> None:
    found = [of for by, of in imports("indicators") if by == "indicators.compute" and ours(of)]
    assert found == []


@pytest.mark.parametrize("module", ["landing", "duckdb_landing", "records", "dbt_runner"])
def test_what_serves_all_sources_knows_none(module: str) -> None:
    file = ROOT / "extract" / f"{module}.py"
    assert file.exists()
    assert not [of for by, of in imports("extract") if by == f"extract.{module}" and of.startswith("extract.sources")]


def test_the_collector_needs_the_standard_library_only() -> None:
    found = [(by, of) for by, of in imports("collector") if of.split(".")[0] != "collector"]
    assert found
    assert not [(by, of) for by, of in found if of.split(".")[0] not in STANDARD_LIBRARY]


def test_help_imports_neither_duckdb_nor_dbt() -> None:
    script = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from tradehouse.main import main\n"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'duckdb', 'dbt', 'pyarrow', 'httpx'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
