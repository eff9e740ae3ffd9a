"""Who may speak to the local page: the browser that was given its address, and nobody else.

A web page of another origin can make a browser send requests to 127.0.0.1, under its own name
(DNS rebinding) or under ours. So every request must name our host, every request for data must
carry the token, which travels in the fragment of the address and in a header of its own and so
never in a cookie, a log or a Referer, and none may come from another origin.
"""

import hmac
from collections.abc import Sequence
from typing import Any

TOKEN_HEADER = "x-deo-token"
LARGEST_BODY = 16 * 2**10
"""Bytes of a request; what the page sends has some hundred."""

_HEADERS = {
    "content-security-policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; object-src 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """ASGI middleware that refuses what does not come from our page.

    Args:
        app: what is guarded.
        hosts: values of the Host header that are ours, each with its port.
        token: the secret; paths that begin with `/api/` need it.
        framed: let other pages show this one in a frame, as notebooks do. Such a frame is of no
            use to a page that does not know the token.
    """

    def __init__(
        self,
        app: Any,
        *,
        hosts: Sequence[str],
        token: str,
        framed: bool = False,
    ) -> None:
        self._app, self._hosts, self._token = app, frozenset(hosts), token
        policy = _HEADERS["content-security-policy"]
        policy += "" if framed else "; frame-ancestors 'none'"
        self._headers = [
            (name.encode(), value.encode())
            for name, value in {**_HEADERS, "content-security-policy": policy}.items()
        ]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":  # the server's start and end; there are no web sockets
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def send_marked(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *self._headers]}
            await send(message)

        refusal = self._refusal(scope)
        body = b""
        while refusal is None:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > LARGEST_BODY:
                refusal = 413, "this request is too large"
            if message["type"] == "http.disconnect":
                return
            if not message.get("more_body", False):
                break
        if refusal is not None:
            await _refuse(send_marked, *refusal)
            return
        delivered = False

        async def receive_body() -> Any:
            nonlocal delivered
            if delivered:
                return await receive()  # tells when the browser leaves
            delivered = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, receive_body, send_marked)

    def _refusal(self, scope: Any) -> tuple[int, str] | None:
        """Status and reason, or None for a request that may pass."""
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        host = headers.get("host", [])
        if len(host) != 1 or host[0] not in self._hosts:
            return 421, "this address is not that of the page"
        origins = {f"http://{host[0]}"}
        if not set(headers.get("origin", [])) <= origins:
            return 403, "requests from other origins are refused"
        if not scope["path"].startswith("/api/"):
            return None
        if headers.get("sec-fetch-site", ["same-origin"]) != ["same-origin"]:
            return 403, "requests from other sites are refused"
        token = headers.get(TOKEN_HEADER, [""])[0]
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            return 403, "the token is missing or wrong; open the address that deo explore printed"
        return None


async def _refuse(send: Any, status: int, reason: str) -> None:
    body = f"{reason}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
