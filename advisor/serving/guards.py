"""What stands before each request of `advisor serve`: who may ask, and what a browser may do with the answer.

A page of a stranger, open in the same browser, must not reach the server: not by a name that it points at
this machine (DNS rebinding), for then the `Host` header has that name, and not by a form or a script of its
own, for then `Origin` or `Sec-Fetch-Site` say so. Reference: OWASP, Cross-Site Request Forgery Prevention
Cheat Sheet.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The page runs the script that lies beside it and no other, and shows pictures that the user chose.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}


class Guards:
    """An ASGI application that lets through to another one what may pass.

    Args:
        inner: the other one.
        names: host names under which this server may be asked; addresses and localhost always may.
    """

    def __init__(self, inner: ASGIApp, names: Iterable[str]) -> None:
        self.inner = inner
        self.names = {"localhost", *(name.lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refused = self._refused(scope)
        if refused:
            status, why = refused
            answer = JSONResponse({"error": why}, status, {"Connection": "close"})
            await answer(scope, receive, send_guarded)
        else:
            await self.inner(scope, receive, send_guarded)

    def _refused(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the reason where a request must not pass."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_own(hosts[0]):
            return 421, "this server is not asked by that name; use its address, or start it with --host NAME"
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return None
        origins = headers.getlist("origin")
        if any(urlsplit(origin).netloc.lower() != hosts[0].lower() for origin in origins):
            return 403, "pages of other sites may not send pictures"
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return 403, "pages of other sites may not send pictures"
        return None

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        try:
            ipaddress.ip_address(name.partition("%")[0])
            return True
        except ValueError:
            return name.lower() in self.names
