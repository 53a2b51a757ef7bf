"""Checks of every request (it names this server, comes from its own page, and holds the token if there is one), and
headers of every answer (the page may load only this server's files)."""

from __future__ import annotations

import hmac
import secrets
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seehear.serve.config import is_loopback
from seehear.serve.problems import Problem

COOKIE, UPLOADS = "seehear", "/api/uploads"
VIEWS = ("/", "/film", "/map", "/learn")
"""Addresses of the page."""
_MOST = 1_000_000  # bytes of a query
# The page is built of names, texts and labels that anybody may have written: should one of them become markup, a
# browser still runs no script and loads nothing but this server's files. `blob:` is for files dropped on the page.
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
        # Value of the cookie: it does not reveal the token, and becomes invalid when the server restarts.
        self.session = hmac.digest(secrets.token_bytes(32), token.encode(), "sha256").hex()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Start and end of the server: the application has no websockets, which would pass unchecked here.
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        # The answers of refusals carry the headers too.
        refused = self._refused(scope, Headers(scope=scope))
        await (refused or self.app)(scope, receive, send_guarded)

    def _refused(self, scope: Scope, headers: Headers) -> Response | None:
        """The answer to a request that the application must not see."""
        host, path = headers.get("host", ""), scope["path"]
        try:
            name = urlsplit(f"//{host}").hostname or ""  # '[::1]:8710' -> '::1'
        except ValueError:
            name = ""
        # DNS rebinding: another site's name that resolves to this machine would make its page ours.
        if not self.token and not is_loopback(name):
            return _problem(403, "host", f"this server is not called {host!r}")
        # Browsers send both headers, and no page can change them; programs send neither, and are let through.
        site, origin = headers.get("sec-fetch-site", "none"), headers.get("origin")
        foreign = site in ("cross-site", "same-site") or (
            origin is not None and origin.lower().partition("://")[2] != host.lower()
        )
        # A link to the page is harmless: it shows the user's own library to the user.
        if foreign and (path not in VIEWS or scope["method"] != "GET"):
            return _problem(403, "origin", "another site's page may not ask this server")
        if (unknown := self._unknown(scope, headers) if self.token else None) is not None:
            return unknown
        # Bodies are read into memory, except for files, which are counted while they arrive.
        if path == UPLOADS:
            return None
        if headers.get("transfer-encoding"):
            return _problem(411, "length", "say how long the body is")
        if int(headers.get("content-length") or 0) > _MOST:
            return _problem(413, "too_large", f"a query is at most {_MOST // 1000} kB")
        return None

    def _unknown(self, scope: Scope, headers: Headers) -> Response | None:
        """The answer to a request without the token: a login that sets the cookie, or a refusal."""
        # Latin-1 decodes any bytes; those beyond ASCII match no token.
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["path"] == "/" and _equal(given, self.token):
            # Redirected, so that the token is neither in the address bar nor in the browser's history of the page.
            entered = RedirectResponse("/", status_code=303)
            # Not X-Forwarded-Proto, which anybody can send: uvicorn sets the scheme by it if it trusts the proxy.
            tls = scope["scheme"] == "https"
            entered.set_cookie(COOKIE, self.session, secure=tls, httponly=True, samesite="strict", max_age=30 * 86400)
            return entered
        # Programs send a header, browsers the cookie.
        bearer = headers.get("authorization", "")
        if bearer.lower().startswith("bearer ") and _equal(bearer[7:].strip(), self.token):
            return None
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            cookie = None
        if cookie and _equal(cookie.value, self.session):
            return None
        ask = {"www-authenticate": "Bearer"}
        if scope["path"].startswith("/api"):
            return _problem(401, "token", "this server asks for its token", ask)
        how = "Open the address that 'seehear serve' printed: it ends in ?token=...\n"
        return PlainTextResponse(how, status_code=401, headers=ask)


def _equal(given: str, expected: str) -> bool:
    # In constant time: `==` answers sooner the earlier a wrong token differs, which tells how much of it is right.
    # Of bytes: `compare_digest` raises on letters beyond ASCII.
    return hmac.compare_digest(given.encode(), expected.encode())


def _problem(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(Problem(status, code, message).plain(), status_code=status, headers=headers)
