"""The files of the pages: templates, scripts, styles, and the chart library's script from its own package."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

MEDIA_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
CHART_LIBRARY = "lightweight-charts.js"


@dataclass(frozen=True)
class File:
    """A file as it is sent."""

    body: bytes
    compressed: bytes
    etag: str
    media_type: str

    @classmethod
    def of(cls, name: str, body: bytes) -> File:
        """A file of this name, whose end says what it is."""
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        return cls(body, gzip.compress(body, 9, mtime=0), etag, MEDIA_TYPES[Path(name).suffix])


@cache
def static_files() -> dict[str, File]:
    """All files of /static/ by name. The chart library's is missing where its package is not installed."""
    found = {
        each.name: File.of(each.name, each.read_bytes())
        for each in files("serve.api.pages").joinpath("static").iterdir()
        if Path(each.name).suffix in MEDIA_TYPES
    }
    library = _chart_library()
    return found | ({CHART_LIBRARY: File.of(CHART_LIBRARY, library)} if library else {})


def _chart_library() -> bytes | None:
    # the package itself cannot be imported: it is a desktop program that needs modules that are not installed
    spec = find_spec("lightweight_charts")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        script = Path(folder) / "js" / CHART_LIBRARY
        if script.is_file():
            return script.read_bytes()
    return None


@cache
def content_security_policy() -> str:
    """Nothing but our own files. The chart library adds one style element, for its logo: allowed by its hash."""
    script = static_files().get(CHART_LIBRARY)
    style = re.search(rb'"(a#tv-attr-logo\{[^"]*)"', script.body) if script else None
    hashed = f" 'sha256-{base64.b64encode(hashlib.sha256(style[1]).digest()).decode()}'" if style else ""
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'{hashed}; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


@cache
def _template(name: str) -> Template:
    return Template(files("serve.api.pages").joinpath("templates").joinpath(name).read_text(encoding="utf-8"))


def render(name: str, **values: str) -> str:
    """A template with its values, which are escaped here."""
    return _template(name).substitute({key: html.escape(value) for key, value in values.items()})


def render_page(main: str, **values: str) -> bytes:
    """A whole page: the shell around `main`, which is HTML; the other values are escaped."""
    escaped = {key: html.escape(value) for key, value in values.items()}
    return _template("shell.html").substitute(escaped, main=main).encode()
