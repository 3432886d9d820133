"""What docs/signals.md says of weights, words and the dialect is what dbt_project.yml says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def page() -> str:
    return (ROOT / "docs" / "signals.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def variables() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / "dbt_project" / "dbt_project.yml").read_text(encoding="utf-8"))[
        "vars"
    ]
    return read


def test_the_table_of_signals_has_the_weights(page: str, variables: dict[str, Any]) -> None:
    found: dict[str, float] = {}
    neutral: dict[str, float] = {}
    section = page.split("## Signals of a candle")[1].split("\n## ")[0]
    for row in re.findall(r"^\| `.*$", section, re.MULTILINE):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        weights = re.findall(r"\d+\.\d+", cells[-1])
        for name in re.findall(r"`(\w+)`", cells[0]):
            found[name] = float(weights[0])
            neutral |= {name: float(weights[1])} if len(weights) > 1 else {}
    assert found == variables["signal_weights"]
    assert neutral == variables["neutral_weights"]


def test_the_table_of_words_has_the_words(page: str, variables: dict[str, Any]) -> None:
    rows = re.findall(r"^\| (\d) \| (.*) \|$", page, re.MULTILINE)
    assert {int(kind): re.findall(r"`(\w+)`", words) for kind, words in rows} == variables["momentum_types"]


def test_the_table_of_the_dialect_has_its_keys(page: str, variables: dict[str, Any]) -> None:
    section = page.split("| key | values |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(variables["collector_dialect"])
