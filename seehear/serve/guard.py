"""Checks of every request: it names this server, comes from this server's own page, and holds the token if there is
one. And what every answer says: nothing but this server's own files may be loaded by the page."""

from __future__ import annotations

import hmac
import secrets
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seehear.serve.config import is_loopback

COOKIE, UPLOADS = "seehear", "/api/uploads"
VIEWS = ("/", "/film", "/map", "/learn")
"""Addresses of the page."""
_MOST = 1_000_000  # bytes of a query
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    def __init__(self, app: ASGIApp, *, token: str = ""):
        self.app, self.token = app, token
        # The cookie's value. It does not reveal the token, and a restart of the server makes it worthless.
        self.session = hmac.digest(secrets.token_bytes(32), token.encode(), "sha256").hex()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        refused = self._refused(scope, Headers(scope=scope))
        await (refused or self.app)(scope, receive, send_guarded)

    def _refused(self, scope: Scope, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        # A name of another's that resolves to this machine would make that other's page ours (DNS rebinding).
        if not self.token and not is_loopback(_name(host)):
            return _problem(403, "host", f"this server is not called {host!r}")
        site, origin = headers.get("sec-fetch-site", "none"), headers.get("origin")
        foreign = site in ("cross-site", "same-site") or (
            origin is not None and origin.lower().partition("://")[2] != host.lower()
        )
        if foreign and (scope["path"] not in VIEWS or scope["method"] != "GET"):  # a link to the page is no harm
            return _problem(403, "origin", "another site's page may not ask this server")
        if (unknown := self._unknown(scope, headers) if self.token else None) is not None:
            return unknown
        return _too_long(scope, headers)

    def _unknown(self, scope: Scope, headers: Headers) -> Response | None:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["path"] == "/" and _equal(given, self.token):
            entered = RedirectResponse("/", status_code=303)
            # Not X-Forwarded-Proto, which anybody can send: uvicorn sets the scheme by it if it trusts the proxy.
            tls = scope["scheme"] == "https"
            entered.set_cookie(COOKIE, self.session, secure=tls, httponly=True, samesite="strict", max_age=30 * 86400)
            return entered
        bearer = headers.get("authorization", "")
        if bearer.lower().startswith("bearer ") and _equal(bearer[7:].strip(), self.token):
            return None
        if _equal(_cookie(headers.get("cookie", "")), self.session):
            return None
        if scope["path"].startswith("/api"):
            return _problem(401, "token", "this server asks for its token", headers_={"www-authenticate": "Bearer"})
        said = "Open the address that 'seehear serve' printed: it ends in ?token=...\n"
        return PlainTextResponse(said, status_code=401, headers={"www-authenticate": "Bearer"})


def _equal(given: str, expected: str) -> bool:
    """Compares in constant time."""
    return hmac.compare_digest(given.encode(), expected.encode())


def _too_long(scope: Scope, headers: Headers) -> Response | None:
    """Bodies are read into memory, but for files, which are counted as they come."""
    if scope["path"] == UPLOADS:
        return None
    if headers.get("transfer-encoding"):
        return _problem(411, "length", "say how long the body is")
    if int(headers.get("content-length") or 0) > _MOST:
        return _problem(413, "too_large", f"a query is at most {_MOST // 1000} kB")
    return None


def _name(host: str) -> str:
    """'[::1]:8710' -> '::1'."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _cookie(header: str) -> str:
    try:
        found = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def _problem(status: int, code: str, message: str, *, headers_: dict[str, Any] | None = None) -> Response:
    return JSONResponse({"code": code, "message": message, "todo": ""}, status_code=status, headers=headers_)
