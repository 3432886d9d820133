"""The generated files are what the generator writes, its check notices when they are not, and bad lists are named."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from extract.errors import SettingsError
from extract.settings import load_project
from tests.support.world import run_program

ROOT = Path(__file__).resolve().parents[2]
CONFIG = Path("dbt_project") / "dbt_project.yml"
FIRST, *OTHERS = load_project().symbols
TIMEFRAMES = load_project().timeframes
LISTED_TIMEFRAMES = "{" + ", ".join(f"{name}: {minutes}" for name, minutes in TIMEFRAMES.items()) + "}"


def run(root: Path, *arguments: str) -> Result:
    """Run the generator of a project in this process: thirty interpreters would take ten seconds to start."""
    return CliRunner().invoke(runpy.run_path(str(root / "dbt_project" / "generate_models.py"))["main"], arguments)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What the generator reads and writes, in a place of its own."""
    left_out = shutil.ignore_patterns("target", "logs", "__pycache__")
    for part in ("dbt_project", "macros"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=left_out)
    for file in (Path("sql") / "sqlite_schema.sql", Path("collector") / "mql5" / "Include" / "ProjectLists.mqh"):
        (tmp_path / file.parent).mkdir(parents=True)
        shutil.copyfile(ROOT / file, tmp_path / file)
    return tmp_path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """What the generator reads before it refuses a list."""
    (tmp_path / "dbt_project").mkdir()
    for file in (CONFIG, CONFIG.with_name("generate_models.py")):
        shutil.copyfile(ROOT / file, tmp_path / file)
    return tmp_path


def change(root: Path, old: str, new: str) -> None:
    text = (root / CONFIG).read_text(encoding="utf-8")
    assert text.count(old) == 1, old
    (root / CONFIG).write_text(text.replace(old, new), encoding="utf-8")


def test_the_committed_files_are_current() -> None:
    done = run(ROOT, "--check")
    assert (done.exit_code, done.stderr) == (0, "")


def test_stale_missing_and_left_over_files_are_named_and_mended(copy: Path) -> None:
    models = copy / "dbt_project" / "models" / "marts" / "candles" / FIRST
    first, second = (models / f"{FIRST}_{name.lower()}.sql" for name in list(TIMEFRAMES)[:2])
    first.write_text("select 1")
    second.unlink()
    (models / f"{FIRST}_w1.sql").write_text("select 1")
    (copy / "sql" / "sqlite_schema.sql").write_text("")
    done = run(copy, "--check")
    assert done.exit_code == 1
    folder = f"dbt_project/models/marts/candles/{FIRST}"
    assert sorted(done.stderr.splitlines()) == [
        f"left over: {folder}/{FIRST}_w1.sql",
        f"missing: {folder}/{second.name}",
        f"stale: {folder}/{first.name}",
        "stale: sql/sqlite_schema.sql",
    ]
    assert run(copy).exit_code == 0
    assert run(copy, "--check").exit_code == 0


def test_a_symbol_a_timeframe_and_a_column_are_one_line_each(copy: Path) -> None:
    change(copy, "  symbols:\n", "  symbols:\n    - us500\n")
    change(copy, LISTED_TIMEFRAMES, LISTED_TIMEFRAMES[:-1] + ", M1: 1}")
    change(copy, "  candle_columns:\n", "  candle_columns:\n    - {name: vwap, kind: number, description: VWAP.}\n")
    # tables and a view a symbol, four of YAML, the SQLite schema, the collector's lists
    files = (len(OTHERS) + 2) * (len(TIMEFRAMES) + 2) + 6
    assert run(copy).stdout.startswith(f"{files} generated files")
    candles = copy / "dbt_project" / "models" / "marts" / "candles"
    assert "timeframe='M1'" in (candles / "us500" / "us500_m1.sql").read_text()
    assert "name: vwap\n    data_type: double precision" in (candles / "_candles.yml").read_text()
    schema = (copy / "sql" / "sqlite_schema.sql").read_text()
    assert "create table if not exists US500 (" in schema
    assert schema.count("vwap real") == len(OTHERS) + 2
    assert len(schema.splitlines()) < 200
    lists = (copy / "collector" / "mql5" / "Include" / "ProjectLists.mqh").read_text()
    assert '"US500",\n' in lists
    assert '"vwap real",\n' in lists


BAD = [
    ("  symbols:\n", "  symbols:\n    - US500\n", "symbol 'US500'"),
    ("  symbols:\n", f"  symbols:\n    - {FIRST}\n", f"symbol '{FIRST}' is listed 2 times"),
    ("  symbols:\n", "  symbols:\n    - no\n", "symbol False"),
    ("  symbols:\n", "  symbols:\n    - mt5_history\n", "symbol 'mt5_history'"),
    (LISTED_TIMEFRAMES, "{H1: 60, M0: 0}", "timeframe 'M0': 0 minutes"),
    (LISTED_TIMEFRAMES, "{H1: 60, H5: 300}", "timeframe 'H5': 300 minutes"),
    (LISTED_TIMEFRAMES, "{H1: 60, W1: 10080}", "timeframe 'W1': 10080 minutes"),
    (LISTED_TIMEFRAMES, "{H1: 60, h4: 240}", "timeframe 'h4': 240 minutes are called 'H4'"),
    (LISTED_TIMEFRAMES, "{M60: 60}", "timeframe 'M60': 60 minutes are called 'H1'"),
    (LISTED_TIMEFRAMES, "{H1: sixty}", "timeframe 'H1': 'sixty' minutes"),
    (LISTED_TIMEFRAMES, "{}", "timeframes is {}"),
    ("{name: tema, kind: number,", "{name: tema, kind: real,", "column 'tema': kind is 'real'"),
    ("{name: tema, kind: number,", "{name: hrma, kind: number,", "column 'hrma' is listed 2 times"),
    ("{name: tema, kind: number,", "{name: synced_at, kind: number,", "column 'synced_at'"),
    ("{name: tema, kind: number,", "{name: Tema, kind: number,", "column 'Tema'"),
    ("{name: tema, kind: number,", "{name: tema, kind: price,", "column 'tema': kind is 'price'"),
    ("{name: close, kind: price,", "{name: last, kind: number,", "column 'close' is missing"),
    ("{name: tema, kind: number,", "{title: tema, kind: number,", "column {'title': 'tema'"),
    (
        "tema, kind: number, zero_is_empty: true",
        "tema, kind: number, zero_is_empty: 'yes'",
        "column 'tema': zero_is_empty is 'yes'",
    ),
    ("{name: zigzag, kind: json,", "{name: zigzag, kind: json, zero_is_empty: true,", "column 'zigzag': only a number"),
]


@pytest.mark.parametrize(("old", "new", "named"), BAD, ids=[named for *_, named in BAD])
def test_a_bad_list_is_one_line_that_names_the_value(bad: Path, old: str, new: str, named: str) -> None:
    change(bad, old, new)
    done = run(bad)
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert named in line
    with pytest.raises(SettingsError) as caught:
        load_project(bad / CONFIG)
    assert f"Error: {caught.value}" == line


def test_all_faults_are_named_at_once(bad: Path) -> None:
    change(bad, "  symbols:\n", "  symbols:\n    - US500\n")
    change(bad, LISTED_TIMEFRAMES, "{M0: 0}")
    line = run(bad).stderr
    assert "'US500'" in line
    assert "'M0'" in line


@pytest.mark.parametrize(("old", "new", "named"), [BAD[0], BAD[1], BAD[4], BAD[5], BAD[7]], ids=lambda each: each)
def test_dbt_names_the_value_too(copy: Path, old: str, new: str, named: str) -> None:
    change(copy, old, new)
    shutil.copyfile(ROOT / "profiles.yml.example", copy / "profiles.yml")
    done = run_program(
        *("dbt", "--no-use-colors", "--quiet", "parse", "--profiles-dir", str(copy)),
        environment={"PATH": os.environ["PATH"], "HOME": str(copy), "PGHOST": "-", "PGUSER": "-", "PGDATABASE": "-"},
        cwd=copy / "dbt_project",
    )
    value = named.split("'")[1]
    assert done.returncode != 0
    assert "Compilation Error" in done.stdout
    assert f"has '{value}'" in done.stdout or f"has {value}: " in done.stdout


def test_the_commands_name_the_value_too(copy: Path) -> None:
    for part in ("collector", "extract", "serve", "tradehouse"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / part, copy / part, ignore=ignored, dirs_exist_ok=True)
    change(copy, "  symbols:\n", "  symbols:\n    - US500\n")
    done = subprocess.run(
        [sys.executable, "-c", "from tradehouse.main import main; main()", "demo-data", "none.db"],
        cwd=copy,
        env={"PATH": os.environ["PATH"], "HOME": str(copy), "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "symbol 'US500'" in line
