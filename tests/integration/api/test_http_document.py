"""The OpenAPI document against the running API: Schemathesis makes requests from it and checks the answers."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.support.api_stand_ins import ADMIN_KEY
from tests.support.api_world import ApiWorld

pytestmark = pytest.mark.only_on("embedded")

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
]
REQUESTS = 12
"""Per operation."""


def test_answers_are_as_the_document_says(api_world: ApiWorld) -> None:
    api_world.execute("update api.tiers set requests_per_hour = 1000000")
    api_world.tick("eurusd_h1", "eurusd_m5")
    with api_world.serving() as running:
        address = f"http://127.0.0.1:{running.port}"
        document = schemathesis.openapi.from_url(f"{address}/openapi.json")
        tried = 0
        for result in document.get_all_operations():
            assert isinstance(result, Ok)
            operation = result.ok()
            if operation.path == "/api/stream":  # it never ends
                continue

            @given(case=operation.as_strategy())
            @settings(
                max_examples=REQUESTS,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            def check(case: schemathesis.Case[Any]) -> None:
                if "symbol" in case.path_parameters:
                    case.path_parameters["symbol"] = "EURUSD"  # else hardly a request comes past the 400
                if "instrument" in case.path_parameters:
                    case.path_parameters |= {"instrument": "1", "timeframe": "1d"}
                case.call_and_validate(base_url=address, headers={"X-API-Key": ADMIN_KEY}, checks=CHECKS)

            check()
            tried += 1
    assert tried == len(document.raw_schema["paths"]) - 1
