"""The routes of the pages: who may see which, signing in and out, and the static files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from extract.settings import Project
from serve.api.access import LONGEST_KEY, Caller
from serve.api.errors import NO_STORE, ApiError
from serve.api.pages.files import content_security_policy, render, render_page, static_files
from serve.api.pages.sessions import COOKIE, SESSION_SECONDS
from serve.api.parameters import instrument_named, market_timeframe_named, symbol_named, timeframe_named
from serve.api.service import REFUSES_GZIP, Api, Handler, api_of, router

ROUTER = router()
LONGEST_FORM = 4000
FIRST_TIMEFRAME = "H1"
UTC = "UTC"
INDIA = "India's, UTC+5:30"


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        name: of its template and script.
        right: what a caller needs, or None.
        lacking: what a caller without it is told.
        times: whose clock the page shows.
    """

    name: str
    title: str
    right: Callable[[Caller], bool] | None = None
    lacking: str = ""
    times: str = UTC


OVERVIEW = Page("overview", "Overview")
CHART = Page("chart", "Chart")
CONFLUENCE = Page("confluence", "Confluence", lambda caller: caller.confluence, "The confluence is part of PRO.")
MARKET = Page("market", "Indian market", lambda caller: caller.market, "The Indian market is part of PRO.", INDIA)
MARKET_CHART = replace(MARKET, name="market_chart", title="Chart")
TRADES = Page("trades", "Trades", lambda caller: caller.is_admin, "Trades are shown to admin keys only.")
ACCOUNTS = Page("accounts", "Accounts", lambda caller: caller.is_admin, "Accounts are shown to admin keys only.")


def shown(page: Page) -> Handler:
    """The endpoint of a page."""

    def answer(request: Request, api: Api, caller: Caller) -> Response:
        viewer = _viewer(api, caller, api.access.signed_in(request) is not None)
        try:
            if page.right and not page.right(caller):
                raise ApiError(403, page.lacking)
            _check_path(request.path_params, api.project)
        except ApiError as error:
            return _failure(error, viewer)
        return _page(page.title, page.name, render(f"{page.name}.html"), viewer, times=page.times)

    return _admitted(answer)


def _check_path(given: Mapping[str, str], project: Project) -> None:
    """Raise 400 where the path names what the lists do not have."""
    if "symbol" in given:
        symbol_named(given["symbol"], project)
    if "instrument" in given:
        instrument_named(given["instrument"])
        market_timeframe_named(given["timeframe"], project)
    elif "timeframe" in given:
        timeframe_named(given["timeframe"], project)


def first_of(path: str) -> Handler:
    """The endpoint that leads to the first symbol a caller may see; `path` has {symbol} and {timeframe}."""

    def answer(_: Request, api: Api, caller: Caller) -> Response:
        symbol = next(each for each in api.project.symbols if each in caller.symbols)
        timeframes = [each for each in api.project.timeframes if each in caller.timeframes]
        timeframe = FIRST_TIMEFRAME if FIRST_TIMEFRAME in timeframes else timeframes[0]
        return RedirectResponse(path.format(symbol=symbol.upper(), timeframe=timeframe), 303, headers=NO_STORE)

    return _admitted(answer)


def _admitted(answer: Callable[[Request, Api, Caller], Response]) -> Handler:
    """An endpoint for callers the API knows. Who needs a key, or another one, is sent to /login."""

    async def endpoint(request: Request) -> Response:
        api = api_of(request)
        try:
            caller = await api.access.caller(request)
        except ApiError as error:
            if error.status != 401:
                return _failure(error, {})
            response = RedirectResponse(f"/login?next={quote(request.url.path)}", 303, headers=NO_STORE)
            response.delete_cookie(COOKIE)
            return response
        return answer(request, api, caller)

    return endpoint


async def login(request: Request) -> Response:
    """The form that takes a key."""
    return _login(_next(request.query_params.get("next", "")), "")


async def sign_in(request: Request) -> Response:
    """Check the key as the API does, and give the browser its cookie."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return _login("/", "The form was sent by another site.", 403)
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_FORM:
            return _login("/", "The form is too long.", 400)
    form = parse_qs(body.decode("utf-8", "replace"))
    key, after = form.get("key", [""])[0].strip(), _next(form.get("next", [""])[0])
    if not key:
        return _login(after, "Enter a key.", 400)
    api = api_of(request)
    digest = hashlib.sha256(key.encode()).digest()
    try:
        known = len(key) <= LONGEST_KEY and await api.access.holds(digest)
    except ApiError as error:
        return _login(after, f"{error}.", error.status)
    if not known:
        return _login(after, "This key is unknown, has expired or was revoked.", 401)
    response = RedirectResponse(after, 303, headers=NO_STORE)
    response.set_cookie(
        COOKIE,
        api.access.sessions.issue(digest),
        max_age=SESSION_SECONDS,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return response


async def sign_out(_: Request) -> Response:
    """Take the cookie back."""
    response = RedirectResponse("/login", 303, headers=NO_STORE)
    response.delete_cookie(COOKIE, httponly=True, samesite="lax")
    return response


async def static(request: Request) -> Response:
    """A script, a style or a picture."""
    file = static_files().get(request.path_params["name"])
    if file is None:
        raise ApiError(404, "there is no such file")
    headers = {"ETag": file.etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    headers["X-Content-Type-Options"] = "nosniff"
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    accepted = request.headers.get("accept-encoding", "").lower()
    if "gzip" in accepted and not REFUSES_GZIP.search(accepted):
        return Response(file.compressed, headers=headers | {"Content-Encoding": "gzip"}, media_type=file.media_type)
    return Response(file.body, headers=headers, media_type=file.media_type)


def _next(path: str) -> str:
    """The path to go on to: one of ours, else the overview."""
    return path if path.startswith("/") and path[1:2] not in ("/", "\\") and path.isprintable() else "/"


def _viewer(api: Api, caller: Caller, signed_in: bool) -> dict[str, object]:
    return {
        "tier": caller.tier,
        "admin": caller.is_admin,
        "confluence": caller.confluence,
        "stream": caller.stream,
        "market": caller.market,
        "refreshSeconds": caller.max_age,
        "symbols": [each.upper() for each in api.project.symbols if each in caller.symbols],
        "timeframes": [each for each in api.project.timeframes if each in caller.timeframes],
        "allSymbols": [each.upper() for each in api.project.symbols],
        "allTimeframes": list(api.project.timeframes),
        "marketTimeframes": list(api.project.market_timeframes),
        "signedIn": signed_in,
    }


def _login(after: str, fault: str, status: int = 200) -> Response:
    return _page("Sign in", "login", render("login.html", next=after, fault=fault), {}, status)


def _failure(error: ApiError, viewer: dict[str, object]) -> Response:
    main = render("failure.html", message=f"{str(error)[:1].upper()}{str(error)[1:]}")
    return _page("Not shown", "failure", main, viewer, error.status)


def _page(title: str, name: str, main: str, viewer: dict[str, object], status: int = 200, times: str = UTC) -> Response:
    body = render_page(main, title=title, name=name, viewer=json.dumps(viewer), times=times)
    headers = NO_STORE | {
        "Content-Security-Policy": content_security_policy(),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
    }
    return Response(body, status, headers=headers, media_type="text/html; charset=utf-8")


_ROUTES: tuple[tuple[str, str, Callable[[Request], Awaitable[Response]]], ...] = (
    ("GET", "/", shown(OVERVIEW)),
    ("GET", "/chart", first_of("/chart/{symbol}/{timeframe}")),
    ("GET", "/chart/{symbol}/{timeframe}", shown(CHART)),
    ("GET", "/confluence", first_of("/confluence/{symbol}")),
    ("GET", "/confluence/{symbol}", shown(CONFLUENCE)),
    ("GET", "/market", shown(MARKET)),
    ("GET", "/market/{instrument}/{timeframe}", shown(MARKET_CHART)),
    ("GET", "/trades", shown(TRADES)),
    ("GET", "/accounts", shown(ACCOUNTS)),
    ("GET", "/login", login),
    ("POST", "/login", sign_in),
    ("POST", "/logout", sign_out),
    ("GET", "/static/{name}", static),
)
for method, path, endpoint in _ROUTES:
    ROUTER.add_api_route(path, endpoint, methods=[method], include_in_schema=False)
