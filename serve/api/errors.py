"""Errors of the API, all with one envelope: `{"success": false, "error": "…"}`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

RETRY_AFTER = {"Retry-After": "5"}
"""While the warehouse is away."""
NO_STORE = {"Cache-Control": "no-store"}


class ApiError(Exception):
    """An answer other than the one asked for.

    Args:
        status: HTTP status.
        message: one line for the caller, without internals.
        headers: further headers.
        fields: further members of the envelope.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None, **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.fields = fields

    def response(self) -> Response:
        """The answer."""
        content = json.dumps({"success": False, "error": str(self), **self.fields}, ensure_ascii=False)
        return Response(content.encode(), self.status, headers=NO_STORE | self.headers, media_type="application/json")


class UnavailableError(ApiError):
    """The warehouse does not answer; a last good answer may stand in."""

    def __init__(self, message: str = "the warehouse does not answer; try again in a moment") -> None:
        super().__init__(503, message, RETRY_AFTER)


def no_data(what: str) -> ApiError:
    """There is nothing to answer with."""
    return ApiError(404, f"no data: {what}")


async def answer_error(_: Request, error: Exception) -> Response:
    """Handler of ApiError."""
    assert isinstance(error, ApiError)
    return error.response()


async def answer_http_exception(request: Request, error: Exception) -> Response:
    """Handler of the framework's own errors: no such path, or no such method there."""
    assert isinstance(error, HTTPException)
    messages = {
        404: "there is no such path; /openapi.json lists them all",
        405: f"the method {request.method} is not allowed here",
    }
    return ApiError(error.status_code, messages.get(error.status_code, error.detail), error.headers).response()
