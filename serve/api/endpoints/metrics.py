"""Metrics for Prometheus: for this machine and for admin keys, and not counted."""

from __future__ import annotations

import ipaddress

from starlette.requests import Request
from starlette.responses import Response

from serve.api.access import credential
from serve.api.errors import NO_STORE, ApiError
from serve.api.metrics import CONTENT_TYPE, Metrics
from serve.api.parameters import NoParameters
from serve.api.service import api_of, router

ROUTER = router()
FORWARDED = ("x-forwarded-for", "x-real-ip", "forwarded")


async def metrics(request: Request) -> Response:
    """All metrics, in Prometheus' text format."""
    if not _is_local(request):
        await _require_admin(request)
    NoParameters.read(request)
    found: Metrics = request.app.state.metrics
    return Response(await found.text(), headers=NO_STORE | {"Content-Type": CONTENT_TYPE})


def _is_local(request: Request) -> bool:
    """Whether the client is on this machine; a request with a proxy's header is somebody else's."""
    if request.client is None or any(name in request.headers for name in FORWARDED):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


async def _require_admin(request: Request) -> None:
    """Raise 403 without an admin key; 401 for an unknown one, 503 where the warehouse is away and cannot tell."""
    access = api_of(request).access
    has_key = credential(request) is not None or access.signed_in(request) is not None
    if not has_key or not (await access.caller(request)).is_admin:
        raise ApiError(403, "metrics are for clients on this machine and for admin keys")


# not in /openapi.json: it is for Prometheus, and not part of the API
ROUTER.add_api_route("/metrics", metrics, methods=["GET"], include_in_schema=False)
