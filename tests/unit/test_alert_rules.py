"""deploy/prometheus and deploy/grafana: what they ask for is what `/metrics` exports."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from serve.api.app import create_app
from serve.api.metrics import Metrics
from serve.api.settings import ApiSettings

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD = DEPLOY / "grafana" / "tradehouse.json"
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
WANTED = {
    *("TradehouseSyncFailing", "TradehouseErrorRate", "TradehouseTableLate", "TradehouseCacheHitRate"),
    *("TradehouseRejectsRising", "TradehouseWarehouseDown"),
}


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """Series names that an API without a warehouse announces, each with its labels; the labels need a sample."""

    async def text() -> str:
        app = create_app(ApiSettings(), "host=127.0.0.1 port=1 connect_timeout=1")
        async with app.router.lifespan_context(app):
            metrics: Metrics = app.state.metrics
            return (await metrics.text()).decode()

    return {
        f"{family.name}{suffix}": {label for sample in family.samples for label in sample.labels}
        for family in text_string_to_metric_families(asyncio.run(text()))
        for suffix in SUFFIXES[family.type]
    }


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def named(expression: str) -> set[str]:
    return set(re.findall(r"\btradehouse_\w+", expression))


def expressions(part: Any) -> list[str]:
    """Every `expr` and variable's `query` within a part of the dashboard."""
    if isinstance(part, list):
        return [found for each in part for found in expressions(each)]
    if not isinstance(part, dict):
        return []
    own = [value for key, value in part.items() if key in ("expr", "query") and isinstance(value, str)]
    return own + [found for value in part.values() for found in expressions(value)]


def test_an_api_without_a_warehouse_announces_every_metric(exported: dict[str, set[str]]) -> None:
    assert {"tradehouse_tables_due", "tradehouse_cache_answers_total", "tradehouse_warehouse_up"} <= set(exported)
    assert "tradehouse_http_request_seconds_bucket" in exported
    assert exported["tradehouse_cache_answers_total"] == {"outcome"}


def test_every_rule_says_what_is_wrong_and_since_when(exported: dict[str, set[str]]) -> None:
    found = rules()
    assert {rule["alert"] for rule in found} >= WANTED
    assert len({rule["alert"] for rule in found}) == len(found)
    for rule in found:
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}, rule["alert"]
        assert re.fullmatch(r"\d+[mh]", rule["for"]), rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning"}, rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]
        assert named(rule["expr"]), rule["alert"]
        assert named(rule["expr"]) <= set(exported), rule["alert"]


def test_the_waits_are_those_agreed() -> None:
    waits = {rule["alert"]: rule["for"] for rule in rules()}
    assert waits["TradehouseSyncFailing"] == "5m"
    assert waits["TradehouseErrorRate"] == "10m"
    assert waits["TradehouseCacheHitRate"] == "1h"


def test_the_dashboard_asks_for_what_is_exported(exported: dict[str, set[str]]) -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert all(expressions(panel) for panel in dashboard["panels"])
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    asked = {name for expression in expressions(dashboard) for name in named(expression)}
    assert asked <= set(exported)
    histogram = {f"tradehouse_http_request_seconds{suffix}" for suffix in SUFFIXES["histogram"]}
    assert asked | histogram == set(exported), "every metric has a place on the dashboard"


def test_the_dashboard_names_no_data_source_of_ours() -> None:
    text = DASHBOARD.read_text(encoding="utf-8")
    assert set(re.findall(r'"uid": "([^"]+)"', text)) == {"tradehouse", "${datasource}"}


@pytest.mark.parametrize(("kind", "file"), [("rules", ALERTS), ("config", ALERTS.with_name("prometheus.yml"))])
def test_promtool_finds_no_fault(kind: str, file: Path) -> None:
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed")
    done = subprocess.run(["promtool", "check", kind, file], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
