"""Who may use the page.

A web page of someone else can send requests to this server through the user's browser. Three checks stop it: the name
in `Host` must be this machine's (against DNS rebinding), requests that change something must come from the page itself
(against CSRF), and beyond loopback every request needs the token of the printed address.
"""

import secrets
from collections.abc import Collection

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
DOCUMENT_POLICY = (
    "sandbox allow-scripts allow-popups; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data:; font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""Of reports and the doctor's pages: they run their own scripts, in an origin of their own, without the network."""

_HEADERS = {
    "content-security-policy": PAGE_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class Access:
    """Refuses requests of others, and sets the headers that bind the browser."""

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] | None, token: str | None) -> None:
        """Guard `app`.

        Args:
            app: The application.
            hosts: The names that a request may call this server by; None for any, which needs a token.
            token: The secret that every request must carry; None for none.
        """
        assert hosts is not None or token is not None
        self._app, self._hosts, self._token = app, hosts, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        assert scope["type"] == "http", "the application has no web sockets"

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._refusal(Request(scope)) or self._app
        return await answer(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if self._hosts is not None and _name(host) not in self._hosts:
            return _forbidden(f"this server is not called {host!r}; use the address that it printed")
        if not _from_the_page(request, host):
            return _forbidden("this request comes from another page")
        return None if self._token is None else self._without_token(request, self._token)

    def _without_token(self, request: Request, token: str) -> Response | None:
        cookie = f"dycktune-{request.url.port or 80}"
        if _same(request.query_params.get("token"), token):
            entry = RedirectResponse("/", status_code=303)
            entry.set_cookie(cookie, token, httponly=True, samesite="strict")
            return entry
        if _same(request.cookies.get(cookie), token):
            return None
        return PlainTextResponse("open the address that dycktune app printed: it ends in ?token=…\n", 401)


def _name(host: str) -> str:
    """The name of a `Host` header without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] or host


def _from_the_page(request: Request, host: str) -> bool:
    """Whether the page itself sent a request that is not only a look: browsers name the origin of every other."""
    if request.method in ("GET", "HEAD"):
        return True
    origin = request.headers.get("origin")
    same_site = request.headers.get("sec-fetch-site", "same-origin")
    return (origin is None or origin == f"{request.url.scheme}://{host}") and same_site in (
        "same-origin",
        "none",
    )


def _same(given: str | None, token: str) -> bool:
    return given is not None and secrets.compare_digest(given.encode(), token.encode())


def _forbidden(why: str) -> Response:
    return PlainTextResponse(f"{why}\n", 403)
