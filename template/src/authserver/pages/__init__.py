"""The pages people see: HTML without outside assets, every text from `languages.py`.

A login brings pages of its own, and so does the second factor: those are named by their path in `authserver`.
Where a page cannot do without a script, it is one of ours; the policy lets no other page run any.
"""

import hashlib
import math
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from authserver.pages import branding
from authserver.pages.languages import Language, spoken

STYLE_PATH = "/assets/style.css"
OWN_STYLE_PATH = "/assets/branding.css"
LOGO_PATH = "/assets/logo.svg"
ASSETS = (STYLE_PATH, OWN_STYLE_PATH, LOGO_PATH)

_HERE = Path(__file__).parent
_POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
_HEADERS = {
    "Cache-Control": "no-store",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Not no-referrer, with which Chromium posts forms with `Origin: null`.
    "Referrer-Policy": "same-origin",
    "Vary": "Accept-Language",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_LOGO_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"


def page(
    request: Request,
    template: str,
    *,
    status: int = 200,
    form_action: str | None = "'self'",
    script: str | None = None,
    wait: float | None = None,
    **context: object,
) -> HTMLResponse:
    """Return `<template>.html`, rendered; with `form_action` None its forms may lead anywhere.

    `script` is the path of the script it runs. `wait` is in seconds: how long to wait before asking again.
    """
    brand = branding.load()
    language = spoken(request)
    content = (
        _environment(language)
        .get_template(f"{template}.html")
        .render(
            context,
            banner=brand.banner,
            footer=brand.footer,
            logo_path=LOGO_PATH if brand.logo else None,
            own_style_path=OWN_STYLE_PATH if brand.style else None,
            retry_after=None if wait is None else _whole(wait),
            script=script,
            server_name=server_name(request),
        )
    )
    policy = _POLICY if form_action is None else f"{_POLICY}; form-action {form_action}"
    if script is not None:
        policy += "; script-src 'self'"
    return HTMLResponse(content, status, {"Content-Security-Policy": policy} | _HEADERS | retry_after(wait))


def message(
    request: Request,
    key: str,
    *,
    status: int,
    wait: float | None = None,
    **params: object,
) -> HTMLResponse:
    """Return the page that says what happened (`message.<key>`) and what to do next."""
    if wait is not None:
        params["retry_after"] = _whole(wait)
    return page(request, "message", status=status, wait=wait, key=key, params=params)


def retry_after(wait: float | None) -> dict[str, str]:
    """Return the header that says how long to wait, in seconds (RFC 9110 section 10.2.3)."""
    return {} if wait is None else {"Retry-After": str(_whole(wait))}


def _whole(seconds: float) -> int:
    """Return whole seconds, never too few."""
    return max(1, math.ceil(seconds))


async def style(request: Request) -> Response:
    """Serve the stylesheet, with the colours of the branding."""
    return asset(request, _stylesheet(), "text/css")


async def own_style(request: Request) -> Response:
    """Serve the stylesheet of the branding, which comes after ours."""
    content = branding.load().style
    return (
        PlainTextResponse("There is none.", 404) if content is None else asset(request, content, "text/css")
    )


async def logo(request: Request) -> Response:
    """Serve the logo of the branding. Opened by itself it may run nothing either."""
    content = branding.load().logo
    if content is None:
        return PlainTextResponse("There is no logo.", 404)
    response = asset(request, content, "image/svg+xml")
    response.headers["Content-Security-Policy"] = _LOGO_POLICY
    return response


def _moment(seconds: float) -> Markup:
    """Return a time, to the minute, in UTC: no script knows the reader's own."""
    time = datetime.fromtimestamp(seconds, UTC)
    markup = Markup('<time datetime="{}">{} UTC</time>')
    return markup.format(time.isoformat(timespec="seconds"), time.strftime("%Y-%m-%d %H:%M"))


@cache
def _environment(language: Language) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([_HERE, _HERE.parent]),
        autoescape=True,
        auto_reload=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "language": language.name,
        "moment": _moment,
        "rich": language.rich,
        "style_path": STYLE_PATH,
        "t": language.t,
    }
    return environment


@cache
def _stylesheet() -> bytes:
    brand = branding.load()
    text = (_HERE / "style.css").read_text(encoding="utf-8")
    light, dark = _accent(brand.accent), _accent(brand.accent_dark)
    return f"{text}\n{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n".encode()


def _accent(colour: str) -> str:
    return f":root {{ --branding: {colour}; --on-branding: {branding.readable_on(colour)}; }}"


def asset(request: Request, content: bytes, media_type: str) -> Response:
    """Serve a file that pages need; a browser that has it already is told so."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    # Kept by browsers, and asked for again each time: a new release never meets an old style.
    headers = {"Cache-Control": "no-cache", "ETag": tag, "X-Content-Type-Options": "nosniff"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=media_type)


def server_name(request: Request) -> str:
    """Return what the server is called: by the branding, else by the user's `server.py`."""
    if name := branding.load().name:
        return name
    state = getattr(request.scope.get("app"), "state", None)
    return str(getattr(getattr(state, "fastmcp_server", None), "name", "MCP server"))
